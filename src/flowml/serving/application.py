"""What answers at the address: MLflow's scoring application of whichever version is in force."""

from __future__ import annotations

import asyncio
import hmac
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from flowml.serving.asgi import Message, Receive, Scope, Send, refuse
from flowml.serving.exchange import Exchange

if TYPE_CHECKING:
    from flowml.serving.recording import Recorder
    from flowml.serving.reporting import Report
    from flowml.serving.slots import Canary, Slot
    from flowml.serving.versions import Limits

_OPEN = {"/ping", "/health"}  # who looks after the server needs no token
_FEEDBACK = "/feedback"
_ID = b"x-request-id"
_LONGEST = 200  # characters of a request's id
_MOST_BESIDE = 8  # requests that the version beside answers at once; it gets no more, for those of users come first


@dataclass(frozen=True, slots=True)
class Lanes:
    """Who may answer.

    Attributes:
        main: The version that answers.
        canary: The one that gets a share of the requests, and which.
        shadow: The one that is asked beside, and never answers.
    """

    main: Slot
    canary: tuple[Canary, Slot] | None = None
    shadow: Slot | None = None


class Application:
    """Answers requests by the versions in force, while they change.

    Args:
        lanes: Who may answer.
        limits: What a request may take.
        token: What a request must bring in its ``Authorization`` header; empty for nothing.
        begin: Is awaited before the first request; a fault in it ends the server.
        end: Is awaited after the last one.
        recorder: Keeps some of the requests.
        report: Is told of each request and of what was asked beside.
        is_numbered: Whether requests come with an id, which whoever asks is told by what hands them on.
    """

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        lanes: Lanes,
        limits: Limits,
        *,
        token: str = "",
        begin: Callable[[], Awaitable[None]],
        end: Callable[[], Awaitable[None]],
        recorder: Recorder,
        report: Report | None = None,
        is_numbered: bool = False,
    ) -> None:
        self._lanes, self._limits, self._token = lanes, limits, token.encode()
        self._begin, self._end, self._recorder, self._report = begin, end, recorder, report
        self._is_numbered = is_numbered
        self._beside: set[asyncio.Task[None]] = set()

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
        elif scope["path"] == _FEEDBACK:
            await self._recorder.feedback(limited.receive, send)
        else:
            try:
                await self._score(scope, headers, limited)
            except Exception:
                if not limited.is_too_long:
                    raise
                await limited.refuse()

    async def _score(self, scope: Scope, headers: Mapping[bytes, bytes], limited: _Limited) -> None:
        number = headers.get(_ID, b"").decode("latin-1")[:_LONGEST] if self._is_numbered else uuid.uuid4().hex
        served = self._lanes.main.current
        is_score = scope["path"] == "/invocations"
        if is_score and self._lanes.canary:
            canary, slot = self._lanes.canary
            served = slot.current if slot.current and canary.takes(headers, number) else served
        if served is None:
            await refuse(limited.send, "No version is ready yet. Ask again.")
            return
        if not self._is_numbered:
            limited.headers = [(_ID, number.encode())]
        wants, beside = is_score and self._recorder.wants(), self._lanes.shadow if is_score else None
        if not (wants or beside or (self._report and is_score)):
            await served.answer(scope, limited.receive, limited.send)
            return
        exchange = Exchange(number, served, scope)
        await exchange.pass_on(limited.receive, limited.send)
        if self._report:
            self._report.answered(exchange)
        if beside and beside.current and len(self._beside) < _MOST_BESIDE:
            task = asyncio.create_task(self._ask_beside(exchange, beside))
            self._beside.add(task)
            task.add_done_callback(self._beside.discard)
        elif wants:
            self._recorder.keep(exchange)

    async def _ask_beside(self, exchange: Exchange, slot: Slot) -> None:
        """Ask the version that is tried beside, when whoever asked has the answer."""
        if (served := slot.current) is None:  # looked up now: the one of a moment ago may be dropped
            return
        shadow = await exchange.repeat(served)
        self._recorder.keep(exchange, shadow)
        if self._report:
            self._report.compared(exchange, shadow)

    def _may(self, brought: bytes) -> bool:
        return not self._token or hmac.compare_digest(brought, b"Bearer " + self._token)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._begin()
        except Exception as error:  # noqa: BLE001 - whatever keeps the first version from being served
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._end()
        await asyncio.gather(*self._beside, return_exceptions=True)
        await asyncio.to_thread(self._recorder.close)
        if self._report:
            await asyncio.to_thread(self._report.close)
        for slot in (self._lanes.main, self._lanes.canary[1] if self._lanes.canary else None, self._lanes.shadow):
            if slot:
                await slot.close()
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
