"""What ASGI's applications are given, and the answers that flowml gives itself."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, TypeAlias

Scope: TypeAlias = "MutableMapping[str, Any]"
Message: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"
App: TypeAlias = "Callable[[Scope, Receive, Send], Awaitable[None]]"

_CODES = {
    HTTPStatus.BAD_REQUEST: "BAD_REQUEST",
    HTTPStatus.UNAUTHORIZED: "UNAUTHENTICATED",
    HTTPStatus.METHOD_NOT_ALLOWED: "BAD_REQUEST",
    HTTPStatus.REQUEST_TIMEOUT: "BAD_REQUEST",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "BAD_REQUEST",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "INVALID_PARAMETER_VALUE",
    HTTPStatus.SERVICE_UNAVAILABLE: "TEMPORARILY_UNAVAILABLE",
}
_AGAIN = b"1"  # seconds until a request is worth another try


async def refuse(send: Send, why: str, status: HTTPStatus = HTTPStatus.SERVICE_UNAVAILABLE) -> None:
    """Answer that a request cannot be answered, as MLflow writes an error; a 503 says when to ask again."""
    more = []
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        more = [(b"retry-after", _AGAIN)]
    elif status == HTTPStatus.UNAUTHORIZED:
        more = [(b"www-authenticate", b"Bearer")]
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        more = [(b"allow", b"POST")]
    elif status == HTTPStatus.REQUEST_TIMEOUT:
        more = [(b"connection", b"close")]
    await answer(send, {"error_code": _CODES[status], "message": why}, status, more)


async def answer(
    send: Send, content: Any, status: HTTPStatus = HTTPStatus.OK, more: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Answer with JSON."""
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *(more or [])]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read(receive: Receive) -> bytes | None:
    """Read a request's body; None if whoever asked is gone."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
