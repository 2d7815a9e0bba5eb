"""HTTP messages as bytes: where one ends is all that the proxy has to know of them."""

from __future__ import annotations

from typing import BinaryIO

END = b"\r\n"


def read_message(stream: BinaryIO, answered: str | None = None) -> bytes | None:
    """Read one whole message.

    Args:
        stream: What to read from.
        answered: The method of the request, if it is the answer to one.

    Returns:
        Its bytes; None if the other side closed before the message was complete.
    """
    head = b""
    while not head.endswith(END + END):
        line = stream.readline()
        if not line:
            return None
        head += line
    headers = _headers(head)
    if answered and (answered == "HEAD" or head.split(b" ", 2)[1][:3] in {b"204", b"304"}):
        return head
    if b"chunked" in headers.get(b"transfer-encoding", b""):
        return _with_chunks(head, stream)
    if b"content-length" in headers:
        length = int(headers[b"content-length"])
        body = stream.read(length)
        return head + body if len(body) == length else None
    return head + stream.read() if answered else head


def made_answer(status: int, retry_after: float | None) -> bytes:
    """Make the answer of a server that fails."""
    body = b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "made by the proxy"}'
    lines = [f"HTTP/1.1 {status} Made", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    if retry_after is not None:
        lines.append(f"Retry-After: {retry_after:g}")
    return "\r\n".join(lines).encode() + END + END + body


def closes(message: bytes) -> bool:
    """Tell whether the sender of a message closes the connection after it."""
    return _headers(message.partition(END + END)[0]).get(b"connection", b"").lower() == b"close"


def _headers(head: bytes) -> dict[bytes, bytes]:
    pairs = (line.split(b":", 1) for line in head.split(END)[1:] if b":" in line)
    return {name.strip().lower(): value.strip() for name, value in pairs}


def _with_chunks(head: bytes, stream: BinaryIO) -> bytes | None:
    message = head
    while True:
        size = stream.readline()
        length = int(size.split(b";")[0], 16) if size.strip() else -1
        chunk = stream.read(length + len(END)) if length >= 0 else b""
        if len(chunk) < len(END):
            return None
        message += size + chunk
        if length == 0:
            return message
