"""A proxy that asks who it is, as one in front of MLflow's server does."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit


class Guard(ThreadingHTTPServer):
    """Hands on to a server what comes with the right user and password.

    Attributes:
        inner: The server's address.
        expected: The header that lets a request through.
        answered: How many requests were answered with which status.
    """

    daemon_threads = True

    def __init__(self, inner: str, user: str, password: str) -> None:
        super().__init__(("127.0.0.1", 0), _Hand)
        self.inner = urlsplit(inner)
        self.expected = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
        self.answered: Counter[int] = Counter()


class _Hand(BaseHTTPRequestHandler):
    server: Guard
    protocol_version = "HTTP/1.1"

    def _hand_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != self.server.expected:
            self._answer(HTTPStatus.UNAUTHORIZED, b"who is it?", "text/plain")
            return
        kept = {
            name: value for name, value in self.headers.items() if name.lower() not in {"authorization", "connection"}
        }
        with closing(HTTPConnection(str(self.server.inner.hostname), self.server.inner.port, timeout=60)) as inner:
            inner.request(self.command, self.path, body, kept)
            answer = inner.getresponse()
            self._answer(answer.status, answer.read(), answer.getheader("Content-Type", "application/json"))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _hand_on  # noqa: N815 - the standard library's names

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.server.answered[status] += 1
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def guarded(inner: str, user: str, password: str) -> Iterator[Guard]:
    """Run a guard before a server."""
    with Guard(inner, user, password) as guard:
        thread = Thread(target=guard.serve_forever, daemon=True)
        thread.start()
        yield guard
        guard.shutdown()
        thread.join()
