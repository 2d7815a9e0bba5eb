"""What a call to an MLflow server spends on nothing."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.tracking.request_header import registry
from mlflow.tracking.request_header.databricks_request_header_provider import DatabricksRequestHeaderProvider
from mlflow.utils import databricks_utils

from flowml.store.backend import cheap_requests

_DELAY = 0.04  # seconds after which Linux acknowledges at the earliest where it waits: TCP_DELACK_MIN in net/tcp.h
_BEGINNING = 20  # answers that a new connection acknowledges at once all the same


@pytest.fixture
def in_two_packets() -> Iterator[str]:
    """Start a server that is asked for an experiment, and sends the body when the head is acknowledged; its address."""
    body = json.dumps({"experiment": {"experiment_id": "1", "name": "x", "lifecycle_stage": "active"}}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    def answer(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65536):
                connection.sendall(head)
                connection.sendall(body)  # Nagle's algorithm is on: this waits

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="other systems have no such option")
def test_no_call_waits_for_an_acknowledgement(in_two_packets: str) -> None:
    """The quickest of the later calls takes less than Linux's delay, which each would take."""
    cheap_requests.install()
    client = MlflowClient(in_two_packets)
    taken = []
    for _ in range(2 * _BEGINNING):
        began = time.perf_counter()
        assert client.get_experiment("1").name == "x"
        taken.append(time.perf_counter() - began)
    assert min(taken[_BEGINNING:]) < _DELAY


def test_no_call_looks_for_databricks(in_two_packets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call imports nothing, of the modules that are there in Databricks alone neither."""
    looked_for = []

    class Noting:
        """Finds no module, and notes which were looked for."""

        def find_spec(self, name: str, *_: Any) -> None:
            looked_for.append(name)

    cheap_requests.install()
    client = MlflowClient(in_two_packets)
    client.get_experiment("1")
    monkeypatch.setattr(sys, "meta_path", [Noting(), *sys.meta_path])
    client.get_experiment("1")
    assert looked_for == []


def test_in_databricks_its_headers_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where MLflow says that this is Databricks, what adds its headers stays."""
    providers = [DatabricksRequestHeaderProvider()]
    monkeypatch.setattr(registry._request_header_provider_registry, "_registry", providers)
    monkeypatch.setattr(databricks_utils, "is_in_databricks_notebook", lambda: True)
    monkeypatch.setattr(databricks_utils, "get_notebook_id", lambda: "7")
    cheap_requests.install.cache_clear()
    cheap_requests.install()
    assert registry.resolve_request_headers()["notebook_id"] == "7"
