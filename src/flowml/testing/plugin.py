"""The fixtures that pytest finds where flowml is installed; nothing is loaded or started for tests that use none."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flowml.testing.tracked import TrackedRuns

_PATIENCE = 120  # seconds for Prefect's temporary server to start, on a busy machine


@pytest.fixture(scope="session")
def flowml_prefect() -> Iterator[None]:
    """A temporary Prefect server for all tests that use `flowml_runs`; define your own of this name to have another."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=_PATIENCE):
        yield


@pytest.fixture(scope="session")
def flowml_empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs, to be copied: making its tables takes seconds."""
    from flowml.store.backend import embedded

    path = tmp_path_factory.mktemp("flowml") / "mlflow.db"
    embedded.prepare(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a copy of the file alone must hold everything
    return path


@pytest.fixture
def flowml_runs(
    tmp_path: Path,
    flowml_prefect: None,  # noqa: ARG001 - flows need a server
    flowml_empty_store: Path,
) -> Iterator[TrackedRuns]:
    """What the flows of this test log, in an MLflow of its own; plain ``mlflow.*`` calls go there too."""
    from mlflow import MlflowClient

    from flowml import settings
    from flowml.capture.inside import flush
    from flowml.testing.tracked import TrackedRuns

    home = tmp_path / ".flowml"
    home.mkdir(exist_ok=True)
    shutil.copy(flowml_empty_store, home / "mlflow.db")
    uri = f"sqlite:///{home / 'mlflow.db'}"
    set_here = {
        "FLOWML_ENABLED": "true",
        "FLOWML_HOME": str(home),
        "FLOWML_TRACKING_URI": uri,
        "MLFLOW_TRACKING_URI": uri,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in set_here.items():
            patch.setenv(name, value)
        settings.reload()
        yield TrackedRuns(MlflowClient(uri))
        flush()
    settings.reload()
