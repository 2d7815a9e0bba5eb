"""A request and its answer, kept while they pass."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from flowml import formats
from flowml.serving.asgi import Message, Receive, Scope, Send
from flowml.serving.versions import Served

_logger = logging.getLogger(__name__)


class Exchange:
    """A request that is answered by a version, and what was said.

    Args:
        number: The request's id.
        served: Who answers.
        scope: What ASGI tells of the request.

    Attributes:
        status: The answer's status.
        milliseconds: How long it took.
    """

    def __init__(self, number: str, served: Served, scope: Scope) -> None:
        self.number, self.served, self.scope = number, served, scope
        self.at, self.status, self.milliseconds = formats.now(), 0, 0.0
        self._asked: list[bytes] = []
        self._said: list[bytes] = []

    @property
    def request(self) -> bytes:
        """The request's body."""
        return b"".join(self._asked)

    @property
    def answer(self) -> bytes:
        """The answer's body."""
        return b"".join(self._said)

    async def pass_on(self, receive: Receive, send: Send) -> None:
        """Have the version answer."""

        async def heard() -> Message:
            message = await receive()
            self._asked.append(message.get("body", b""))
            return message

        async def told(message: Message) -> None:
            self.status = message.get("status", self.status)
            self._said.append(message.get("body", b""))
            await send(message)

        began = time.perf_counter()
        try:
            await self.served.answer(self.scope, heard, told)
        finally:
            self.milliseconds = (time.perf_counter() - began) * 1000

    async def repeat(self, served: Served) -> Exchange:
        """Ask another version the same; nobody is told its answer."""
        other = Exchange(self.number, served, {**self.scope, "headers": list(self.scope["headers"])})
        try:
            await other.pass_on(_once(self.request), _nobody)
        except Exception:
            _logger.debug("flowml: %s failed", served.fetched, exc_info=True)
            other.status = other.status or int(HTTPStatus.INTERNAL_SERVER_ERROR)
        return other

    def row(self) -> dict[str, Any]:
        """Return it as it is kept."""
        fetched = self.served.fetched
        return {
            "id": self.number,
            "time": self.at,
            "model": fetched.model,
            "version": fetched.version,
            "model_id": fetched.model_id,
            "milliseconds": self.milliseconds,
            "status": self.status,
            "content_type": dict(self.scope["headers"]).get(b"content-type", b"").decode("latin-1"),
            "request": self.request,
            "answer": self.answer,
        }


def _once(body: bytes) -> Receive:
    messages: Iterable[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    left = iter(messages)

    async def receive() -> Message:
        return next(left, {"type": "http.disconnect"})

    return receive


async def _nobody(message: Message) -> None:
    """Hear an answer that nobody waits for."""
