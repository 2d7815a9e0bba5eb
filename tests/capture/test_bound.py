"""A flow that Prefect binds to infrastructure: sent as a bundle, and tracked in the process that runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL
from tests.runs import flow_run, run_of

SOURCE = Path(__file__).parents[2] / "src" / "flowml"


@pytest.mark.slow
@pytest.mark.e2e
def test_it_is_tracked_where_it_runs(client: MlflowClient, project: Path) -> None:
    """Run by a process worker from its bundle, the flow and its task have runs, with the flow's own options."""
    installed = project / "site-packages"  # Prefect pickles by value what it finds elsewhere
    installed.mkdir()
    (installed / "flowml").symlink_to(SOURCE)
    environment = os.environ | {
        "PYTHONPATH": str(installed),
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "MLFLOW_TRACKING_URI": client.tracking_uri,  # the worker's folder is of no project
    }
    command = [sys.executable, str(Path(__file__).with_name("bound.py"))]
    done = subprocess.run(command, env=environment, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    flow_run_id, state = done.stdout.split()[-2:]
    assert state == "Completed"
    run = flow_run(client)
    assert (run.info.status, run.data.params, run.data.tags["team"]) == ("FINISHED", {"number": "4"}, "risk")
    assert run.data.tags["prefect.flow_run_id"] == flow_run_id
    assert run_of(client, "double").data.params == {"number": "4"}
