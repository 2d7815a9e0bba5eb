"""A real Prefect server for the session, and a real SQLite MLflow for each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ |= {  # before Prefect and MLflow are imported: tests report to nobody
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}

import mlflow
import pytest
from mlflow import MlflowClient

from flowml import faults, settings
from flowml.store import lazy_store
from flowml.store.backend import connection, mlflow_state
from flowml.store.sending import writer

_SHARED = {"everywhere": "everywhere", "conformance": "conformance", "stack": "ports", "browser": "ports"}
"""Folders whose tests share servers, or want the ports that flowml up takes by itself: one process runs each."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let one process run all tests of a file, where several share the work: what a file has made is made once."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = nodeid.split("/")[1]
            return _SHARED.get(folder) or str(super()._split_scope(nodeid))

    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write what UTF-8 cannot hold of a test's output as an escape: the report goes to another process."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let flowml's own bugs fail the tests instead of being logged, in whichever of its threads they come up."""
    monkeypatch.setattr(faults, "strict", True)
    faults.seen.clear()
    yield
    for fault in faults.seen:
        raise fault


@pytest.fixture(autouse=True)
def no_run_stays_active() -> Iterator[None]:
    """Let MLflow forget the runs that a test left active in threads: it takes the newest of them all for a trace."""
    stack = mlflow.tracking.fluent._active_run_stack  # a test may put another in its place
    yield
    stack.reset()


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """Start one Prefect server for the whole session, with a database of its own."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(Path(__file__).parent / "prefect_server"), prepend=os.pathsep)
            stack.enter_context(prefect_test_harness(server_startup_timeout=120))
        # The heartbeat's thread is joined once a second: without it a test is a second faster.
        stack.enter_context(temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}))
        yield


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flowml_empty_store: Path) -> Iterator[Path]:
    """Work in an empty project folder whose embedded store is ready, with nothing set in the environment."""
    forget_what_was_said_to_mlflow()
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "FLOWML_", "OPENLINEAGE_"))]:
        if name != "MLFLOW_DISABLE_TELEMETRY":
            monkeypatch.delenv(name)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / ".flowml").mkdir()
    shutil.copy(flowml_empty_store, tmp_path / ".flowml" / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    settings.reload()
    yield tmp_path
    lazy_store.fix_all()  # a call that was left early would choose its store seconds later, in another test
    for each in writer.all_writers():
        each._waiting.clear()  # what waits for a server that a test ended would be waited for in all others
    while mlflow.active_run():
        mlflow.end_run()
    forget_what_was_said_to_mlflow()


def forget_what_was_said_to_mlflow() -> None:
    """Undo what tests, and flowml for them, told MLflow for the whole process; it tells the environment too."""
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
    mlflow.tracking.fluent._active_experiment_id = None
    mlflow_state.forget()
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_ID"):
        os.environ.pop(name, None)


@pytest.fixture
def client(project: Path, prefect_server: None) -> MlflowClient:
    """A client of the project's store, with Prefect ready to run flows."""
    return connection.connect().client
