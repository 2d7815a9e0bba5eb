"""``flows/tune.py`` as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL
from tests.runs import flow_run, runs_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]

FLOWS = Path(__file__).parents[2] / "flows"


def test_the_best_is_promoted_and_the_week_goes_on(client: MlflowClient, project: Path) -> None:
    """The best of the week is champion; run again in the same week, no trial is made twice."""
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value()), "FLOWML_HOME": f"{project}/.flowml"}
    command = [sys.executable, str(FLOWS / "tune.py"), "--trials", "4"]
    subprocess.run(command, cwd=project, env=environment, check=True, timeout=180)
    assert flow_run(client).data.tags["prefect.flow_name"] == "tuning"
    assert str(client.get_model_version_by_alias("classifier", "champion").version) == "1"
    subprocess.run(command, cwd=project, env=environment, check=True, timeout=180)
    assert len(runs_of(client, "fit_fold")) == 4
