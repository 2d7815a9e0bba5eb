"""Which ports the servers take."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

_TRIES = 200


def is_free(host: str, port: int) -> bool:
    """Tell whether a server could listen there now."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as caller:
            if caller.connect_ex(address) == 0:  # not every system refuses to bind to an address that is bound
                return False
        with socket.socket(family, kind) as probe:
            # As the servers do: without it, a port is taken for a minute after its server ended.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Port:
    """A free port, which no other ``flowml up`` of this user takes while this one keeps it.

    Attributes:
        number: Which.
        lock: What the others see.
    """

    number: int
    lock: FileLock

    def give_back(self) -> None:
        """Keep it no more: a server listens there, or never will."""
        self.lock.release()


def keep(host: str, number: int) -> Port | None:
    """Keep a port for a server that is about to start; None if it is taken or kept by another."""
    lock = FileLock(_folder() / f"{number}.lock", timeout=0)
    with suppress(Timeout):
        lock.acquire(blocking=False)
        if is_free(host, number):  # only now: who kept it until now may listen there
            return Port(number, lock)
        lock.release()
    return None


def keep_next(host: str, first: int, *, but: Collection[int] = ()) -> Port | None:
    """Keep the first free port from this one on; None if there is none near."""
    candidates = (number for number in range(first, min(first + _TRIES, 65536)) if number not in but)
    return next(filter(None, (keep(host, number) for number in candidates)), None)


def _folder() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    folder = Path(tempfile.gettempdir()) / f"flowml-ports-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
