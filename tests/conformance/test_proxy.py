"""The proxy itself: what a client of it sees, and what arrives behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from tests.conformance.proxy import Fault, Proxy, Request


class Echo(ThreadingHTTPServer):
    """Answers with what it got, and keeps it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echoing)
        self.got: list[bytes] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that the proxy reset."""


class Echoing(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    server: Echo

    def do_POST(self) -> None:
        """Answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]):
            return
        self.server.got.append(body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


@pytest.fixture
def echo() -> Iterator[Echo]:
    """Start a server."""
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    """Start a proxy before it; no thread of it is left."""
    with Proxy(f"http://127.0.0.1:{echo.server_port}") as started:
        yield started
    assert [thread for thread in threading.enumerate() if thread.name == "proxy"] == []


def send(proxy: Proxy, text: bytes, timeout: float = 20) -> str:
    """Send a text, and say what came of it."""
    try:
        answer = requests.post(f"{proxy.address}/here", text, timeout=timeout)
    except requests.RequestException as error:
        return type(error).__name__
    return f"{answer.status_code} {answer.text}" if answer.ok else f"{answer.status_code}"


def test_it_hands_on_and_counts(proxy: Proxy) -> None:
    """Without a fault a client gets the server's answer, over one connection or many."""
    with requests.Session() as session:
        assert [session.post(f"{proxy.address}/a", text).text for text in ("one", "two")] == ["one", "two"]
    assert send(proxy, b"three") == "200 three"
    assert proxy.requests == [Request("POST", "/a"), Request("POST", "/a"), Request("POST", "/here")]


@pytest.mark.parametrize(
    "fault, seen, arrived",
    [
        (Fault("refuse"), "ConnectionError", []),
        (Fault("hang"), "ReadTimeout", []),
        (Fault("slow", seconds=0.1), "200 text", [b"text"]),
        (Fault("cut request"), "ConnectionError", []),
        (Fault("cut answer"), "ChunkedEncodingError", [b"text"]),
        (Fault("status", status=429, retry_after=1), "429", []),
        (Fault("lose answer"), "ConnectionError", [b"text"]),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else None,
)
def test_one_request_fails(echo: Echo, proxy: Proxy, fault: Fault, seen: str, arrived: list[bytes]) -> None:
    """The request that was chosen fails as it is told, and those around it do not."""
    proxy.fail_at(2, fault)
    assert send(proxy, b"before") == "200 before"
    assert send(proxy, b"text", timeout=0.5) == seen
    proxy.heal()
    assert send(proxy, b"after") == "200 after"
    assert echo.got == [b"before", *arrived, b"after"]


def test_nobody_listens(proxy: Proxy) -> None:
    """From a request on connections are refused, until the proxy is healed at the same address."""
    proxy.fail_from(2, Fault("refuse"))
    assert [send(proxy, b"text") for _ in range(3)] == ["200 text", "ConnectionError", "ConnectionError"]
    assert len(proxy.requests) == 2
    proxy.heal()
    assert send(proxy, b"text") == "200 text"


def test_it_is_down_for_a_while(proxy: Proxy) -> None:
    """A server that is started again refuses for a moment."""
    proxy.fail_at(1, Fault("refuse", seconds=0.3))
    assert [send(proxy, b"text"), send(proxy, b"text")] == ["ConnectionError"] * 2
    end = time.monotonic() + 20
    while send(proxy, b"text") != "200 text":
        assert time.monotonic() < end


def test_what_hangs_is_served_when_it_is_healed(echo: Echo, proxy: Proxy) -> None:
    """A client that still waits when the server is back gets its answer."""
    proxy.fail_from(1, Fault("hang"))
    came = threading.Event()
    proxy.do_at(1, came.set)
    seen: list[str] = []
    waiting = threading.Thread(target=lambda: seen.append(send(proxy, b"text")))
    waiting.start()
    assert came.wait(20)
    assert echo.got == []
    proxy.heal()
    waiting.join(20)
    assert seen == ["200 text"]


def test_a_share_fails(proxy: Proxy) -> None:
    """Of many requests the chosen share fails, the same ones for the same seed."""
    proxy.fail_share(0.5, [Fault("status", status=503)], seed=1)
    first = [send(proxy, b"text") for _ in range(40)]
    proxy.fail_share(0.5, [Fault("status", status=503)], seed=1)
    assert [send(proxy, b"text") for _ in range(40)] == first
    assert 10 < first.count("503") < 30
