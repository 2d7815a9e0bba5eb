"""A small server that answers as OpenAI's API does, and fails as a test wants it to.

In a test: ``with LlmServer() as llm: ...``; by itself: ``python tests/genai/llm_server.py 8123``.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import Self


@dataclass
class Answer:
    """What the server does with one request.

    Attributes:
        text: What the model says.
        status: The HTTP status; above 200 it is an error.
        retry_after: The header that goes with a 429.
        seconds: How long it takes.
        body: What is sent in place of an answer, such as malformed JSON.
        input: Tokens that the question had.
        cached: Those of them that were in the provider's cache.
        output: Tokens of the answer. Default: its words.
        usage: Whether tokens are told at all.
    """

    text: str = "yes"
    status: int = 200
    retry_after: str | None = None
    seconds: float = 0.0
    body: bytes | None = None
    input: int = 10
    cached: int = 0
    output: int | None = None
    usage: bool = True

    def tokens(self) -> dict[str, Any]:
        """Return what is told of tokens, as OpenAI does."""
        output = len(self.text.split()) if self.output is None else self.output
        return {
            "prompt_tokens": self.input,
            "completion_tokens": output,
            "total_tokens": self.input + output,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


@dataclass
class LlmServer:
    """The server; it counts what it is asked.

    Attributes:
        plan: What it does with the next requests, in their order; after them it does as `usual`.
        usual: What it does with a request, by what was asked.
        requests: The bodies of all requests.
    """

    plan: deque[Answer] = field(default_factory=deque)
    usual: Callable[[dict[str, Any]], Answer] = lambda _: Answer()
    requests: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Its address, for ``base_url=``."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), _handler_of(self))
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()


def _handler_of(server: LlmServer) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        llm = server

    return Handler


class _Handler(BaseHTTPRequestHandler):
    llm: LlmServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.llm.requests.append(asked)
        answer = self.llm.plan.popleft() if self.llm.plan else self.llm.usual(asked)
        time.sleep(answer.seconds)
        if not self.path.endswith("/chat/completions"):
            answer = Answer(status=404)
        if answer.body is not None:
            self._send(answer.status, answer.body)
        elif answer.status != 200:
            error = {"error": {"message": f"failed as planned with {answer.status}", "type": "planned"}}
            self._send(answer.status, json.dumps(error).encode(), answer.retry_after)
        elif asked.get("stream"):
            self._stream(asked, answer)
        else:
            self._send(200, json.dumps(_completion(asked, answer)).encode())

    def _send(self, status: int, body: bytes, retry_after: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, asked: dict[str, Any], answer: Answer) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        words = answer.text.split(" ")
        for place, word in enumerate(words):
            delta = {"content": word if place == 0 else f" {word}", "role": "assistant"}
            self._event(_chunk(asked, [{"index": 0, "delta": delta, "finish_reason": None}]))
        self._event(_chunk(asked, [{"index": 0, "delta": {}, "finish_reason": "stop"}]))
        if answer.usage and (asked.get("stream_options") or {}).get("include_usage"):
            self._event({**_chunk(asked, []), "usage": answer.tokens()})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _event(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _completion(asked: dict[str, Any], answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text}
    told = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    return {**told, "usage": answer.tokens()} if answer.usage else told


def _chunk(asked: dict[str, Any], choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": asked["model"],
        "choices": choices,
    }


if __name__ == "__main__":
    with LlmServer(port=int(sys.argv[1])) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        threading.Event().wait()
