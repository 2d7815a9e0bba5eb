"""How long an answer of a server takes that sends it in two packets."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from mlflow import MlflowClient

from flowml.store import quick_acks

_DELAY = 0.04  # seconds after which Linux acknowledges at the earliest where it waits: TCP_DELACK_MIN in net/tcp.h
_BEGINNING = 20  # answers that a new connection acknowledges at once all the same

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="other systems have no such option")


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


def test_no_call_waits_for_an_acknowledgement(in_two_packets: str) -> None:
    """The quickest of the later calls takes less than Linux's delay, which each would take."""
    quick_acks.install()
    client = MlflowClient(in_two_packets)
    taken = []
    for _ in range(2 * _BEGINNING):
        began = time.perf_counter()
        assert client.get_experiment("1").name == "x"
        taken.append(time.perf_counter() - began)
    assert min(taken[_BEGINNING:]) < _DELAY
