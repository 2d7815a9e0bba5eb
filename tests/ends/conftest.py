"""What processes of a test's own need to know."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL, PREFECT_LOCAL_STORAGE_PATH, temporary_settings

from tests.ends.processes import ROOT


@pytest.fixture
def results(project: Path) -> Iterator[Path]:
    """Keep Prefect's results in the project's folder, where no other test finds them."""
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: project / "results"}):
        yield project / "results"


@pytest.fixture
def environment(client: MlflowClient, project: Path) -> Mapping[str, str]:
    """What a process needs to know to use the same servers."""
    return {
        **os.environ,
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_LOCAL_STORAGE_PATH": str(project / "results"),
        "FLOWML_HOME": str(project / ".flowml"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
