"""Which ports the servers take."""

from __future__ import annotations

import socket
from collections.abc import Collection

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


def next_free(host: str, first: int, *, but: Collection[int] = ()) -> int | None:
    """Return the first free port from this one on; None if there is none near."""
    candidates = range(first, min(first + _TRIES, 65536))
    return next((port for port in candidates if port not in but and is_free(host, port)), None)
