"""A version that hangs, or fails in a way that MLflow's application does not expect, harms no other one."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import mlflow
import pytest
from tests.ends.processes import until
from tests.serving.conftest import ASKED, ROWS, Churn, Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

_HANGING = """
import mlflow, time
class Hanging(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        time.sleep(1000)
mlflow.models.set_model(Hanging())
"""


def add_hanging(churn: Churn, tmp_path: Path) -> None:
    """Register a version that never answers; it has no example, which it would fail."""
    code = tmp_path / "hanging.py"
    code.write_text(_HANGING)
    signature = mlflow.models.infer_signature(ROWS, [0.0])
    logged = mlflow.pyfunc.log_model(
        name="hanging", python_model=str(code), signature=signature, pip_requirements=["mlflow"]
    )
    mlflow.register_model(logged.model_uri, "churn")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*input example was not provided", "ignore:.*Add type hints")
def test_a_version_that_hangs_harms_no_other(churn: Churn, serve: Callable[..., Server], tmp_path: Path) -> None:
    """As a shadow it keeps nobody waiting; as champion its requests end by --timeout, and a rollback helps at once."""
    churn.promote(churn.add())
    add_hanging(churn, tmp_path)
    churn.promote("2", "challenger")
    words = ["--shadow", "churn@challenger", "--allow-pickle", "--env-manager", "local", "--timeout", "1s"]
    server = serve("churn@champion", *words)
    until(lambda: "churn@challenger is version 2" in server.said(), "the shadow is there")
    assert [server.ask().status_code for _ in range(30)] == [200] * 30
    churn.promote("2")
    until(lambda: server.ask().headers["x-model-version"] == "2", "it answers", every=0.05)
    assert [server.ask().status_code for _ in range(8)] == [504] * 8
    churn.promote("1")
    until(lambda: server.ask().status_code == 200, "the first one answers again", every=0.05)
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(20)


@pytest.mark.slow
def test_requests_that_are_none_are_answered(churn: Churn, serve: Callable[..., Server]) -> None:
    """Each says what is wrong, and the server's log has no line of a traceback."""
    churn.promote(churn.add())
    server = serve("churn@champion", "--timeout", "2s")
    score, feedback = f"{server.url}/invocations", f"{server.url}/feedback"
    told = {"content-type": "application/json"}
    assert httpx.post(score, content=b"{}").status_code == 415
    assert httpx.post(score, content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    for content in (b"{", b"", b"\xff", b"[1]", b'{"dataframe_split": {"columns": ["age"], "data": [[1]]}}'):
        assert httpx.post(score, content=content, headers=told).status_code == 400
    assert httpx.post(score, content=b"[" * 100_000, headers=told).status_code == 500  # of MLflow's application
    assert (httpx.get(feedback).status_code, httpx.get(feedback).headers["allow"]) == (405, "POST")
    where = server.url.removeprefix("http://").split(":")
    with socket.create_connection((where[0], int(where[1]))) as websocket:
        told_so = (
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhl\r\n"
        )
        websocket.sendall(b"GET /invocations HTTP/1.1\r\nHost: here\r\n" + told_so + b"\r\n")
        assert b"500" not in websocket.recv(100)
    for path, answered in (("invocations", b"504"), ("feedback", b"408")):  # whose bodies never come
        with socket.create_connection((where[0], int(where[1]))) as slow:
            slow.sendall(b"POST /%s HTTP/1.1\r\nHost: here\r\n" % path.encode())
            slow.sendall(b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{")
            assert answered in slow.recv(100)
    for sent in (0, 10, 1000):  # whoever asked hangs up
        with socket.create_connection((where[0], int(where[1]))) as gone:
            gone.sendall(b"POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n")
            gone.sendall(b"Content-Length: 1000\r\n\r\n" + b" " * sent)
    assert server.ask(ASKED).status_code == 200
    assert "Traceback" not in server.said()
