"""An MLflow server that fails for some seconds when a flow ends."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import mlflow
import pytest
from mlflow import MlflowClient

import flowml
from flowml import flow, task

pytestmark = pytest.mark.e2e

_SECONDS = 3.0
_ERROR = b'{"error_code": "INTERNAL_ERROR", "message": "the database is being moved"}'
_PAGE = b"<html>not by this firewall</html>"


class Proxy(ThreadingHTTPServer):
    """Hands requests on to a server, unless it is out of order."""

    daemon_threads = True

    def __init__(self, target: str, status: int) -> None:
        super().__init__(("127.0.0.1", 0), Handing)
        self.target = target
        self.status = status
        self.fails_until = 0.0
        self.refused = 0


class Handing(BaseHTTPRequestHandler):
    """Hands one request on."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_GET(self) -> None:
        """Hand it on, or refuse it."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if time.monotonic() < self.server.fails_until:
            self.server.refused += 1
            self.answer(self.server.status, _ERROR if self.server.status >= 500 else _PAGE)
            return
        known = ("content-type", "accept", "x-mlflow-")
        headers = {name: value for name, value in self.headers.items() if name.lower().startswith(known)}
        asked = urllib.request.Request(f"{self.server.target}{self.path}", body or None, headers, method=self.command)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                self.answer(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            self.answer(error.code, error.read())

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - as http.server wants them

    def answer(self, status: int, body: bytes) -> None:
        """Answer."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


@pytest.fixture
def proxy(request: pytest.FixtureRequest, mlflow_server: str) -> Iterator[Proxy]:
    """Start a proxy before the real server, which fails by the status that the test is parametrised with."""
    with Proxy(mlflow_server, request.param) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


# To 500 MLflow's own client sends again by itself; 520 is what a network of caches answers for a server that fails,
# 400 and 403 what stands before a server says of what it does not let through.
@pytest.mark.parametrize("proxy", [500, 520, 400, 403], indirect=True)
@pytest.mark.usefixtures("project", "prefect_server")
def test_a_server_that_fails_at_the_end_loses_nothing(proxy: Proxy, request: pytest.FixtureRequest) -> None:
    """While it answers an error, or a proxy a page, all is sent again; then each run has all it should."""
    mlflow.set_tracking_uri(f"http://127.0.0.1:{proxy.server_port}")
    mlflow.set_experiment(request.node.name)

    @task
    def score(rate: float) -> float:
        proxy.fails_until = time.monotonic() + _SECONDS
        return rate * 2

    @flow
    def scoring(rate: float) -> dict[str, object]:
        return {"twice": score(rate), "text": "long " * 1000}

    scoring(0.5)
    client = MlflowClient(proxy.target)
    experiment = client.get_experiment_by_name(request.node.name)
    runs = client.search_runs([experiment.experiment_id])
    by_kind = {run.data.tags["flowml.kind"]: run for run in runs}
    assert proxy.refused > 1
    assert {kind: run.info.status for kind, run in by_kind.items()} == {"flow": "FINISHED", "task": "FINISHED"}
    assert by_kind["task"].data.params == by_kind["flow"].data.params == {"rate": "0.5"}
    assert by_kind["task"].data.metrics == {"score": 1.0}
    assert by_kind["flow"].data.metrics == {"twice": 1.0, "score": 1.0}
    assert "flowml.tracking_error" not in by_kind["flow"].data.tags


@pytest.mark.parametrize("proxy", [500], indirect=True)
@pytest.mark.usefixtures("project", "prefect_server")
def test_a_server_that_goes_on_failing_is_waited_for_no_longer_than_allowed(
    proxy: Proxy, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flow's end gives up after the setting ``timeout``, not after MLflow's own tries; what waits is sent later."""
    mlflow.set_tracking_uri(f"http://127.0.0.1:{proxy.server_port}")
    mlflow.set_experiment(request.node.name)
    monkeypatch.setenv("FLOWML_TIMEOUT", "2")

    @flow
    def scoring(rate: float) -> float:
        assert flowml.current_run() is not None
        proxy.fails_until = time.monotonic() + 600
        return rate * 2

    began = time.monotonic()
    scoring(0.5)
    assert time.monotonic() - began < 20
    proxy.fails_until = 0
    flowml.flush()
    client = MlflowClient(proxy.target)
    (run,) = client.search_runs([client.get_experiment_by_name(request.node.name).experiment_id])
    assert (run.info.status, run.data.params) == ("FINISHED", {"rate": "0.5"})
    assert run.data.metrics == {"scoring": 1.0}
    assert "flowml.tracking_error" not in run.data.tags


@pytest.mark.parametrize("proxy", [500], indirect=True)
@pytest.mark.usefixtures("project", "prefect_server")
def test_spans_wait_for_a_server_that_fails(proxy: Proxy, request: pytest.FixtureRequest) -> None:
    """The spans of a flow that ends while the server fails are sent when it is back, and the trace is whole."""
    mlflow.set_tracking_uri(f"http://127.0.0.1:{proxy.server_port}")
    mlflow.set_experiment(request.node.name)

    @task
    def score(rate: float) -> float:
        proxy.fails_until = time.monotonic() + _SECONDS
        return rate * 2

    @flow(track=flowml.Track(trace=True))
    def scoring(rate: float) -> float:
        return score(rate)

    scoring(0.5)
    client = MlflowClient(proxy.target)
    (trace,) = client.search_traces(locations=[client.get_experiment_by_name(request.node.name).experiment_id])
    assert proxy.refused > 1
    assert (str(trace.info.state), {span.name for span in trace.data.spans}) == ("OK", {"scoring", "score"})
