"""Runs that are read from an MLflow server without MLflow are asked for, and told, as MLflow does it."""

from __future__ import annotations

import datetime as dt
import http.client
import ipaddress
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mlflow import MlflowClient
from tests.ops.conftest import Said
from tests.ops.test_quick import FILTERS, QUICK, told

from flowml import settings
from flowml.errors import TrackingError
from flowml.ops.runs import Rows, Runs, reading
from flowml.ops.view.listing import flow_runs
from flowml.store.backend.failures import explained
from flowml.store.backend.reading import server_runs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200), pytest.mark.usefixtures("history")]


@pytest.fixture(scope="module")
def server(made: Path) -> Iterator[str]:
    """Show the runs by an MLflow server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    told = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    told["MLFLOW_BACKEND_STORE_URI"] = f"sqlite:///{made}/.flowml/mlflow.db"
    with (made / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=told, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 100
        while not _is_well(port):
            assert time.monotonic() < until, (made / "server.log").read_text()[-3000:]
            assert process.poll() is None
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _is_well(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


@contextmanager
def gate(server: str, *, certificate: Path | None = None, refuses: int = 0) -> Iterator[tuple[str, list[str | None]]]:
    """Stand before a server: hand every question on, and keep who asked; or refuse all."""
    asked: list[str | None] = []

    class Gate(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.headers["Authorization"])
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if refuses:
                self._answer(refuses, b"<html>Who is there?</html>")
                return
            behind = http.client.HTTPConnection(server.removeprefix("http://"), timeout=30)
            behind.request("POST", self.path, body, {"Content-Type": "application/json"})
            answer = behind.getresponse()
            self._answer(answer.status, answer.read())
            behind.close()

        def do_GET(self) -> None:  # MLflow asks the server for its version
            asked.append(self.headers["Authorization"])
            self._answer(404, b"{}")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Gate) as standing:
        if certificate:
            shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            shown.load_cert_chain(certificate)
            standing.socket = shown.wrap_socket(standing.socket, server_side=True)
        threading.Thread(target=standing.serve_forever, daemon=True).start()
        yield f"http{'s' if certificate else ''}://127.0.0.1:{standing.server_port}", asked
        standing.shutdown()


@pytest.mark.parametrize("mine", FILTERS)
def test_both_ways_tell_the_same(server: str, mine: str) -> None:
    """The same runs in the same order, with the same tags, parameters and metrics."""
    quick, own = Rows(server_runs.Server(server).search), Runs(MlflowClient(server))
    assert list(map(told, quick.search(mine))) == list(map(told, own.search(mine)))
    assert list(map(told, quick.newest(mine))) == list(map(told, own.newest(mine)))
    assert list(map(told, islice(quick.newest(mine, page=1), 3))) == list(map(told, islice(own.newest(mine), 3)))


def test_odd_runs_are_told_alike(server: str) -> None:
    """One without an end, with a metric that is no number, with a value that is empty; and one that is deleted."""
    client = MlflowClient(server)
    odd = client.create_run("0", run_name="odd", tags={"empty": "", "flowml.kind": "odd"}).info.run_id
    for name, value in {"nan": float("nan"), "inf": float("inf"), "less": float("-inf"), "big": 1e300}.items():
        client.log_metric(odd, name, value)
    gone = client.create_run("0", run_name="gone", tags={"flowml.kind": "odd"}).info.run_id
    client.delete_run(gone)
    quick, own = Rows(server_runs.Server(server).search), Runs(client)
    mine = "tags.`flowml.kind` = 'odd'"
    (run,) = quick.search(mine)
    assert repr(told(run)["metrics"]) == repr(told(client.get_run(odd))["metrics"])
    assert {**told(run), "metrics": {}} == {**told(client.get_run(odd)), "metrics": {}}
    assert list(map(told, quick.search(mine, deleted=True))) == list(map(told, own.search(mine, deleted=True)))


WAYS: dict[str, tuple[str, dict[str, str], str]] = {
    "nobody": ("", {}, ""),
    "variables": ("", {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "p:w%"}, ""),
    "half": ("", {"MLFLOW_TRACKING_USERNAME": "ada"}, ""),
    "token": ("", {"MLFLOW_TRACKING_TOKEN": "t0k"}, ""),
    "both": (
        "",
        {"MLFLOW_TRACKING_TOKEN": "t0k", "MLFLOW_TRACKING_USERNAME": "a", "MLFLOW_TRACKING_PASSWORD": "b"},
        "",
    ),
    "address": ("ada:p%40w@", {"MLFLOW_TRACKING_TOKEN": "t0k"}, ""),
    "file": ("", {}, "[mlflow]\nmlflow_tracking_username = bob\nmlflow_tracking_password = pw\n"),
    "file and variable": (
        "",
        {"MLFLOW_TRACKING_PASSWORD": "other"},
        "[mlflow]\nmlflow_tracking_username = bob\nmlflow_tracking_password = pw\n",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_who_asks_is_said_as_mlflow_says_it(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """User and password, token, those in the address, those in MLflow's file: the server sees the same from both."""
    inside, variables, file = WAYS[way]
    _as_said(tmp_path, monkeypatch, variables)
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(file)
    with gate(server) as (address, asked):
        uri = address.replace("http://", f"http://{inside}")
        assert list(Rows(server_runs.Server(uri).search).newest("", page=1))
        quick = set(asked)
        asked.clear()
        MlflowClient(uri).search_experiments()
        assert quick == set(asked)


def _as_said(home: Path, patch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    patch.setenv("HOME", str(home))
    for name, value in variables.items():
        patch.setenv(name, value)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_certificates_are_trusted_as_mlflow_trusts_them(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that nobody has signed is refused, unless it is named or all are to be taken."""
    certificate = _self_signed(tmp_path / "own.pem")
    with gate(server, certificate=certificate) as (uri, _):
        with pytest.raises(TrackingError, match="is not trusted here"), explained(uri):
            list(server_runs.Server(uri).search("", newest_first=True, page=1))
        for name, value in (
            ("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate)),
            ("MLFLOW_TRACKING_INSECURE_TLS", "true"),
        ):
            with monkeypatch.context() as patch:
                patch.setenv(name, value)
                assert list(server_runs.Server(uri).search("", newest_first=True, page=1))


def _self_signed(path: Path) -> Path:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.timezone.utc)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = made.add_extension(here, critical=False).sign(key, hashes.SHA256())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.write_bytes(
        signed.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    return path


@pytest.mark.parametrize("status", [401, 200])
def test_a_server_that_is_not_mlflow(server: str, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """What a proxy or a page to log in answers is said, with advice that fits: the server runs."""
    with gate(server, refuses=status) as (uri, _):
        monkeypatch.setenv("FLOWML_TRACKING_URI", uri)
        settings.reload()
        with pytest.raises(TrackingError, match=rf"status {status}: <html>Who is there") as raised, explained(uri):
            flow_runs(reading(), last=1)
    assert "Check the address, the credentials" in str(raised.value)


def test_what_only_mlflow_knows_is_left_to_it(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that authenticates, and workspaces; a server that is not HTTP's."""
    assert server_runs.can_read(server)
    assert not server_runs.can_read("databricks://profile")
    for name in ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_WORKSPACE"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "some")
            assert not server_runs.can_read(server)


@pytest.mark.parametrize("words", ["runs", "show pipeline", "open", "compare run-of-1 run-of-2", "doctor"])
def test_looking_loads_neither_prefect_nor_mlflow(server: str, words: str) -> None:
    """Each takes seconds to import, and a server answers without."""
    told = {**os.environ, "FLOWML_TRACKING_URI": server, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", QUICK, *words.split()], env=told, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []], done.stderr


def test_a_view_of_the_flow_runs_is_saved(
    server: str, history: MlflowClient, flowml: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`flowml open` saves it where MLflow's pages look for one; one that somebody has changed since stays theirs."""
    monkeypatch.setenv("FLOWML_TRACKING_URI", server)
    settings.reload()
    page = flowml("open").out.strip()
    found = re.search(r"/experiments/(\d+)/runs\?.*&viewStateShareKey=(\w+)$", page)
    assert found, page
    client, key = MlflowClient(server), f"mlflow.sharedViewState.{found[2]}"
    view = json.loads(client.get_experiment(found[1]).tags[key])
    assert (view["name"], json.loads(view["state"])["searchFilter"]) == ("Flow runs", "tags.`flowml.kind` = 'flow'")
    for changed, kept in (({"name": "stale"}, view), ({"name": "mine", "updatedAt": 1}, {"name": "mine"})):
        client.set_experiment_tag(found[1], key, json.dumps({**view, **changed}))
        assert flowml("open").out.strip() == page
        assert json.loads(client.get_experiment(found[1]).tags[key])["name"] == kept["name"]


def test_where_no_view_can_be_saved(server: str, flowml: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow runs are shown with MLflow's own columns, as to a user who may only read."""
    with gate(server) as (address, _):  # lets through what is searched for, and says 404 to an experiment
        monkeypatch.setenv("FLOWML_TRACKING_URI", address)
        settings.reload()
        assert "&searchFilter=tags." in flowml("open").out
