"""What the servers said."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowml.stack.state import Server

_FEW = 20


def last_lines(server: Server, count: int = _FEW) -> str:
    """Return the end of a server's log, without empty lines."""
    try:
        with Path(server.log).open(encoding="utf-8", errors="replace") as log:
            return "".join(deque((line for line in log if line.strip()), maxlen=count)).rstrip() or "(nothing)"
    except OSError as error:
        return f"({error.strerror}: {server.log})"


def follow(server: Server) -> Iterator[str]:
    """Yield what a server says from now on; empty while it says nothing, and no more when it ended."""
    with Path(server.log).open(encoding="utf-8", errors="replace") as log:
        log.seek(0, os.SEEK_END)
        while True:
            ended = not server.is_alive()  # asked first: what it said before it ended is still to come
            said = log.read()
            yield said
            if ended and not said:
                return
            if not said:
                time.sleep(0.2)
