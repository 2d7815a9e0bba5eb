"""Waits until the servers answer."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from urllib.parse import urlsplit

from flowml.errors import StackError
from flowml.stack.logs import last_lines
from flowml.stack.state import Server, Stack

_PATHS = {"prefect": "/api/health", "mlflow": "/health"}
_PATIENCE = 300.0  # seconds; a busy machine needs a minute


def answers(server: Server) -> bool:
    """Ask a server once whether it is well; past any proxy, which has no business on this machine."""
    parts = urlsplit(server.url)
    with (
        suppress(OSError, http.client.HTTPException),
        closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)) as connection,
    ):
        connection.request("GET", _PATHS.get(server.name, "/ping"))
        return connection.getresponse().status == http.client.OK
    return False


def wait(stack: Stack) -> Iterator[list[Server]]:
    """Wait until both answer; yields those that do not yet, several times a second.

    Raises:
        StackError: If one ends, or takes too long.
    """
    waiting = list(stack.servers)
    until = time.monotonic() + _PATIENCE
    while waiting:
        yield waiting
        for server in waiting:
            if not server.is_alive():
                raise died(server)
        if time.monotonic() > until:
            slow = waiting[0]
            msg = f"The {slow.name} server does not answer at {slow.url} after {_PATIENCE:.0f} seconds. "
            msg += f"The end of {slow.log}:\n{last_lines(slow)}"
            raise StackError(msg, server=slow.name)
        time.sleep(0.2)
        waiting = [server for server in waiting if not answers(server)]


def died(server: Server) -> StackError:
    """Say which server died, and what it said at the end."""
    msg = f"The {server.name} server at {server.url} has died. The end of {server.log}:\n{last_lines(server)}"
    return StackError(msg, server=server.name)
