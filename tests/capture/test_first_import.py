"""MLflow is imported before the first flow or task runs, in the thread that calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

pytestmark = pytest.mark.e2e

PROGRAM = """
import sys, threading

order = []

def hear(event, args):
    if event == "import" and args[0] == "mlflow" and "mlflow" not in sys.modules:
        order.append("import in " + threading.current_thread().name)
    if event == "subprocess.Popen" and "uvicorn" in args[1]:
        order.append("server")

sys.addaudithook(hear)

from flowml import flow, task

def running(*_):
    order.append("running")

@task
def one():
    order.append("task")

@flow(on_running=[running])
def first():
    order.append("flow")
    one()

if __name__ == "__main__":
    {call}
    print(*order, sep=", ")
"""
IMPORT = "import in MainThread"


def order_of(program: str, folder: Path, **environment: str) -> str:
    """Run a program in a project of its own, and return what it printed."""
    (folder / "program.py").write_text(program)
    (folder / "pyproject.toml").touch()
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "FLOWML_"))}
    variables |= {"PREFECT_HOME": str(folder / "prefect"), "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env=variables | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_mlflow_is_imported_while_prefects_temporary_server_starts(tmp_path: Path) -> None:
    """The thread that calls the flow imports it instead of waiting, and the flow does not begin before."""
    order = order_of(PROGRAM.replace("{call}", "first()"), tmp_path)
    assert order == f"server, {IMPORT}, running, flow, task"


@pytest.mark.slow
@pytest.mark.parametrize("call", ["first()", "import prefect.flow_engine; prefect.flow_engine.run_flow(first)"])
def test_mlflow_is_imported_before_a_flow_begins(tmp_path: Path, prefect_server: None, call: str) -> None:
    """With a server of Prefect's too, whether a flow is called or run by Prefect."""
    order = order_of(PROGRAM.replace("{call}", call), tmp_path, PREFECT_API_URL=str(PREFECT_API_URL.value()))
    assert order == f"{IMPORT}, running, flow, task"


def test_mlflow_is_not_imported_for_what_is_not_tracked(tmp_path: Path, prefect_server: None) -> None:
    """A flow with track=False begins as in Prefect."""
    call = "first.with_options(track=False)()"
    order = order_of(PROGRAM.replace("{call}", call), tmp_path, PREFECT_API_URL=str(PREFECT_API_URL.value()))
    assert order == "running, flow, task"
