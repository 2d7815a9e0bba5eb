"""Traces of flows that work for long, of those whose process is killed, and of those whose MLflow is away."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL
from tests.tracing.traced import drawn, spans, the_trace

from flowml import Track, flow, ops, task

ROOT = Path(__file__).parents[2]

PROGRAM = """
import time
from flowml import Track, flow, task

@task
def done() -> int:
    return 1

@task
def stuck() -> None:
    time.sleep(4)  # what was done before is in MLflow then
    print("stuck", flush=True)
    time.sleep(600)

@flow(track=Track(trace=True))
def doomed() -> None:
    done()
    stuck()

doomed()
"""


@pytest.mark.e2e
@pytest.mark.slow
def test_a_killed_flow_ends_its_trace_when_it_is_reaped(client: MlflowClient, tmp_path: Path) -> None:
    """Each span that was open ends with an error, and so does the trace; what had ended stays as it was."""
    program = tmp_path / "doomed.py"
    program.write_text(PROGRAM)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(program)], env=environment(client), cwd=tmp_path, stdout=subprocess.PIPE, stderr=log
        )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"stuck\n", (tmp_path / "log").read_text()[-3000:]
        process.send_signal(signal.SIGKILL)
    ops.reap_runs(grace=0)
    trace = the_trace(client)
    assert drawn(trace).splitlines() == ["doomed", "  done", "  stuck"]
    assert str(trace.info.state) == "ERROR"
    codes = [spans(trace, name)[0].status.status_code.value for name in ("doomed", "done", "stuck")]
    assert codes == ["ERROR", "OK", "ERROR"]


LONG = """
import time

import mlflow
from flowml import Track, flow, task


@mlflow.trace
def asked() -> None:
    pass


@task
def patient() -> None:
    time.sleep(6)
    asked()


@flow(track=Track(trace=True))
def long() -> None:
    patient()


long()
"""


@pytest.mark.e2e
@pytest.mark.slow
def test_a_task_may_work_for_longer_than_mlflow_remembers(client: MlflowClient, tmp_path: Path) -> None:
    """What a task traces is in its place, however long after its beginning: MLflow forgets traces that take so long."""
    program = tmp_path / "long.py"
    program.write_text(LONG)
    known = {**environment(client), "MLFLOW_TRACE_BUFFER_TTL_SECONDS": "4"}
    subprocess.run([sys.executable, str(program)], env=known, cwd=tmp_path, check=True, timeout=100)
    assert drawn(the_trace(client)).split() == ["long", "patient", "asked"]


def environment(client: MlflowClient) -> Mapping[str, str]:
    """Return the environment of a process that knows this one's Prefect and MLflow."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "FLOWML_"))}
    inherited |= {"MLFLOW_DISABLE_TELEMETRY": "true", "FLOWML_TRACKING_URI": client.tracking_uri}
    inherited |= {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_LOGGING_LEVEL": "ERROR"}
    return {**inherited, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}


@pytest.mark.usefixtures("client")
def test_a_server_that_is_away_delays_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow ends when it would, though MLflow's own exporter goes on trying; its spans wait with its runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("FLOWML_TRACKING_URI", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("FLOWML_MAX_DELAY", "0.5")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # what this process waits for when it ends

    @mlflow.trace
    def asked() -> None:
        pass

    @task
    def ask() -> None:
        asked()

    @flow(track=Track(trace=True))
    def chat() -> float:
        began = time.monotonic()
        ask()
        return time.monotonic() - began

    began = time.monotonic()
    in_body = chat()
    assert in_body < 3
    assert time.monotonic() - began < 10
    waiting = " ".join(path.read_bytes().decode(errors="replace") for path in (project / ".flowml").rglob("*.db*"))
    assert '"mlflow.spanType"' in waiting.replace("\\", "")
