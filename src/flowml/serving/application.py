"""What answers at the address: MLflow's scoring application of whichever version is in force."""

from __future__ import annotations

import asyncio
import hmac
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from flowml.serving.asgi import Message, Receive, Scope, Send, refuse

if TYPE_CHECKING:
    from flowml.serving.recording import Recorder
    from flowml.serving.versions import Limits, Served

_OPEN = {"/ping", "/health"}  # who looks after the server needs no token
_FEEDBACK = "/feedback"


class Application:
    """Answers requests by the version in force, while that changes.

    Args:
        limits: What a request may take.
        token: What a request must bring in its ``Authorization`` header; empty for nothing.
        begin: Is awaited before the first request; a fault in it ends the server.
        end: Is awaited after the last one.
        recorder: Keeps some of the requests.

    Attributes:
        current: The version in force; None as long as there is none.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        token: str = "",
        begin: Callable[[Application], Awaitable[None]],
        end: Callable[[], Awaitable[None]],
        recorder: Recorder | None = None,
    ) -> None:
        self.current: Served | None = None
        self._limits, self._token = limits, token.encode()
        self._begin, self._end, self._recorder = begin, end, recorder

    async def use(self, served: Served) -> None:
        """Let a version answer all new requests; the one before ends what it has begun."""
        before, self.current = self.current, served
        if before:
            await before.retire()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if scope["path"] not in _OPEN and not self._may(headers.get(b"authorization", b"")):
            why = "This server takes requests with its token: send the header 'Authorization: Bearer <token>'."
            await refuse(send, why, HTTPStatus.UNAUTHORIZED)
            return
        limited = _Limited(receive, send, self._limits.body)
        if int(headers.get(b"content-length", b"0") or 0) > self._limits.body:
            await limited.refuse()
            return
        if scope["path"] == _FEEDBACK and self._recorder:
            await self._recorder.feedback(limited.receive, send)
            return
        if (served := self.current) is None:
            await refuse(send, "No version is ready yet. Ask again.")
            return
        number = uuid.uuid4().hex
        limited.headers = [(b"x-request-id", number.encode())]
        try:
            if self._recorder and scope["path"] == "/invocations" and self._recorder.wants():
                await self._recorder.kept(number, served, scope, limited.receive, limited.send)
            else:
                await served.answer(scope, limited.receive, limited.send)
        except Exception:
            if not limited.is_too_long:
                raise
            await limited.refuse()

    def _may(self, brought: bytes) -> bool:
        return not self._token or hmac.compare_digest(brought, b"Bearer " + self._token)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._begin(self)
        except Exception as error:  # noqa: BLE001 - whatever keeps the first version from being served
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._end()
        if self._recorder:
            await asyncio.to_thread(self._recorder.close)
        if self.current:
            await self.current.retire()
        await send({"type": "lifespan.shutdown.complete"})


class _Limited:
    """A request whose body may have so many bytes, and whose answer gets headers of ours."""

    def __init__(self, receive: Receive, send: Send, most: int) -> None:
        self._receive, self._send, self._left, self._most = receive, send, most, most
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_too_long = self._has_begun = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.is_too_long = True
            msg = "the request is too long"
            raise ValueError(msg)
        return message

    async def send(self, message: Message) -> None:
        if self.is_too_long:  # what the model's application makes of that error
            return
        if message["type"] == "http.response.start":
            self._has_begun = True
            message["headers"] = [*message.get("headers", ()), *self.headers]
        await self._send(message)

    async def refuse(self) -> None:
        if not self._has_begun:
            why = f"The request is longer than the {self._most:,} bytes that this server takes (--max-body)."
            await refuse(self._send, why, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
