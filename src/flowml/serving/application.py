"""What answers at the address: MLflow's scoring application of whichever version is in force."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from flowml.serving.asgi import Message, Receive, Scope, Send, read, refuse
from flowml.serving.exchange import Exchange
from flowml.serving.monitoring.recording import new_id

if TYPE_CHECKING:
    from flowml.serving.monitoring.recording import Recorder
    from flowml.serving.monitoring.reporting import Report
    from flowml.serving.slots import Canary, Slot
    from flowml.serving.versions import Limits

_logger = logging.getLogger(__name__)

_OPEN = {"/ping", "/health"}  # who looks after the server needs no token
_FEEDBACK, _SCORE = "/feedback", "/invocations"
_END = 2.0  # seconds that the version beside may take when the server ends
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
        begin: Is awaited before the first request; a fault in it, which it has told of, ends the server.
        end: Is awaited after the last one.
        recorder: Keeps some of the requests.
        report: Is told of each request and of what was asked beside.
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
    ) -> None:
        self._lanes, self._limits, self._token = lanes, limits, token.encode()
        self._begin, self._end, self._recorder, self._report = begin, end, recorder, report
        self._beside: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:  # a websocket
            await send({"type": "websocket.close"})

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
            await self._hear(scope, limited)
        elif scope["path"] == _SCORE and scope["method"] == "POST" and b"content-type" not in headers:
            why = "The request does not say what it is: send the header 'Content-Type: application/json'."
            await refuse(send, why, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        else:
            await self._guarded(scope, headers, limited)

    async def _hear(self, scope: Scope, limited: _Limited) -> None:
        """Take feedback."""
        if scope["method"] != "POST":
            why = f"{_FEEDBACK} takes POST, not {scope['method']}."
            await refuse(limited.send, why, HTTPStatus.METHOD_NOT_ALLOWED)
            return
        try:
            body = await asyncio.wait_for(read(limited.receive), self._limits.seconds)
        except (TimeoutError, asyncio.TimeoutError):
            await refuse(limited.send, "The request did not come in time (--timeout).", HTTPStatus.REQUEST_TIMEOUT)
        except TooLongError:
            await limited.refuse()
        else:
            if body is not None:
                await self._recorder.feedback(body, limited.send)

    async def _guarded(self, scope: Scope, headers: Mapping[bytes, bytes], limited: _Limited) -> None:
        """Have a request answered; what goes wrong in MLflow's application has become an answer of its own."""
        try:
            await self._score(scope, headers, limited)
        except Exception as error:
            if limited.is_too_long:
                await limited.refuse()
            elif not limited.has_begun:
                raise
            elif not limited.is_gone:
                _logger.warning("flowml: a request was answered with an error: %s: %s", type(error).__name__, error)
                _logger.debug("flowml: where that was", exc_info=True)

    async def _score(self, scope: Scope, headers: Mapping[bytes, bytes], limited: _Limited) -> None:
        is_score, served = scope["path"] == _SCORE, self._lanes.main.current
        beside = self._lanes.shadow if is_score and self._lanes.shadow and self._lanes.shadow.current else None
        is_kept = is_score and (self._recorder.wants() or beside is not None)
        is_numbered = not self._recorder.is_numbering  # then whoever asks is told by what hands the requests on
        number = headers.get(_ID, b"").decode("latin-1")[:_LONGEST] if is_numbered else new_id(is_kept=is_kept)
        if is_score and self._lanes.canary:
            canary, slot = self._lanes.canary
            served = slot.current if slot.current and canary.takes(headers, number) else served
        if served is None:
            await refuse(limited.send, "No version is ready yet. Ask again.")
            return
        if not is_numbered:
            limited.headers = [(_ID, number.encode())]
        if not (is_kept or (self._report and is_score)):
            await served.answer(scope, limited.receive, limited.send)
            return
        exchange = Exchange(number, served, scope)
        try:
            await exchange.pass_on(limited.receive, limited.send)
        finally:
            if exchange.status:  # else whoever asked has hung up, or sent too much
                self._note(exchange, beside, is_kept=is_kept)

    def _note(self, exchange: Exchange, beside: Slot | None, *, is_kept: bool) -> None:
        """Tell who watches of a request, and ask the version that is tried beside."""
        if self._report:
            self._report.answered(exchange)
        if beside and len(self._beside) < _MOST_BESIDE:
            task = asyncio.create_task(self._ask_beside(exchange, beside))
            self._beside.add(task)
            task.add_done_callback(self._beside.discard)
        elif is_kept:
            self._recorder.keep(exchange)

    async def _ask_beside(self, exchange: Exchange, slot: Slot) -> None:
        """Ask the version that is tried beside, when whoever asked has the answer."""
        served = slot.current  # looked up now: the one of a moment ago may be dropped
        if served is None:
            self._recorder.keep(exchange)
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
        except Exception:  # noqa: BLE001 - whatever keeps the first version from being served, which is told elsewhere
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._end()
        if self._beside:
            await asyncio.wait(self._beside, timeout=_END)
        for task in list(self._beside):
            task.cancel()
        await asyncio.to_thread(self._recorder.close)
        if self._report:
            await asyncio.to_thread(self._report.close)
        for slot in (self._lanes.main, self._lanes.canary[1] if self._lanes.canary else None, self._lanes.shadow):
            if slot:
                await slot.close()
        await send({"type": "lifespan.shutdown.complete"})


class TooLongError(Exception):
    """A request has more bytes than it may have."""


class _Limited:
    """A request whose body may have so many bytes, and whose answer gets headers of ours.

    Attributes:
        headers: Those.
        is_too_long: Whether the body was longer.
        is_gone: Whether whoever asked has hung up.
        has_begun: Whether there is an answer.
    """

    def __init__(self, receive: Receive, send: Send, most: int) -> None:
        self._receive, self._send, self._left, self._most = receive, send, most, most
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_too_long = self.is_gone = self.has_begun = False

    async def receive(self) -> Message:
        message = await self._receive()
        self.is_gone |= message["type"] == "http.disconnect"
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.is_too_long = True
            raise TooLongError
        return message

    async def send(self, message: Message) -> None:
        if self.is_too_long:  # what the model's application makes of that error
            return
        if message["type"] == "http.response.start":
            self.has_begun = True
            message["headers"] = [*message.get("headers", ()), *self.headers]
        await self._send(message)

    async def refuse(self) -> None:
        if not self.has_begun:
            why = f"The request is longer than the {self._most:,} bytes that this server takes (--max-body)."
            await refuse(self._send, why, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
