"""What a call to an MLflow server spends on nothing."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.tracking.request_header import registry
from mlflow.utils import databricks_utils

from flowml.store.backend import requests


@pytest.fixture
def server() -> Iterator[str]:
    """Start a server that is asked for an experiment; its address."""
    body = json.dumps({"experiment": {"experiment_id": "1", "name": "x", "lifecycle_stage": "active"}}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    def answer(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65536):
                connection.sendall(head + body)

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


def test_no_call_looks_for_databricks(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call imports nothing, of the modules that are there in Databricks alone neither."""
    looked_for = []

    class Noting:
        """Finds no module, and notes which were looked for."""

        def find_spec(self, name: str, *_: Any) -> None:
            looked_for.append(name)

    requests.install()
    client = MlflowClient(server)
    client.get_experiment("1")
    monkeypatch.setattr(sys, "meta_path", [Noting(), *sys.meta_path])
    client.get_experiment("1")
    assert looked_for == []


def test_in_databricks_its_headers_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where MLflow says that this is Databricks, its headers are added."""
    requests.install()
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    monkeypatch.setattr(databricks_utils, "is_in_databricks_notebook", lambda: True)
    monkeypatch.setattr(databricks_utils, "get_notebook_id", lambda: "7")
    assert registry.resolve_request_headers()["notebook_id"] == "7"
