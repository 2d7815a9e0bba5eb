"""A catalogue of lineage: a real server that keeps what is posted to it, or behaves badly."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


class Catalogue:
    """Keeps events; `status` is what it answers, and while `hangs` is set it does not answer."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.paths: set[str] = set()
        self.status = 201
        self.hangs = threading.Event()
        self.is_over = threading.Event()
        catalogue = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if catalogue.hangs.is_set():
                    catalogue.is_over.wait(30)
                elif catalogue.status < 400:
                    catalogue.events.append(json.loads(body))
                    catalogue.paths.add(self.path)
                self.send_response(catalogue.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def of(self, job: str) -> list[dict[str, Any]]:
        """Return the events of a job, in order."""
        return [event for event in self.events if event["job"]["name"] == job]

    def types(self, job: str) -> list[str]:
        """Return what happened to a job."""
        return [event["eventType"] for event in self.of(job)]


@pytest.fixture
def catalogue(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalogue]:
    """A catalogue that the project's flows tell of what they do."""
    its = Catalogue()
    thread = threading.Thread(target=its.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    monkeypatch.setenv("FLOWML_OPENLINEAGE_URL", its.url)
    yield its
    its.is_over.set()
    its.server.shutdown()
    its.server.server_close()
    thread.join()
