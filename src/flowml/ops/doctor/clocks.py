"""Whether the servers' clocks say the same as the one here."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import closing
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from flowml.ops.doctor.findings import Finding, Place

_SLIGHT, _MUCH = 3.0, 60.0  # seconds; the header has whole ones


def clocks(place: Place) -> Iterator[Finding]:
    """Compare the time in each server's answers with the time here."""
    servers = {"Prefect's": place.api, "MLflow's": place.uri if place.uri.startswith("http") else None}
    asked = {name: url for name, url in servers.items() if url}
    if not asked:
        yield Finding("ok", "There is no server with a clock of its own")
    for name, url in asked.items():
        ahead = _ahead(url)
        if ahead is None:
            yield Finding("ok", f"{name} server did not tell the time")
        elif abs(ahead) < _SLIGHT:
            yield Finding("ok", f"{name} server has the time of this machine")
        else:
            yield Finding(
                "error" if abs(ahead) >= _MUCH else "warning",
                f"{name} server is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine: durations "
                "and the order of runs are wrong, and schedules run early or late.",
                "Let both machines take the time from the network (NTP).",
            )


def _ahead(url: str) -> float | None:
    """Return by how many seconds a server's clock is ahead; None if it cannot be known."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        with closing(kind(parts.hostname or "", parts.port, timeout=5)) as connection:
            before = time.time()
            connection.request("GET", f"{parts.path.rstrip('/')}/health")
            told = connection.getresponse().getheader("Date")
            here = (before + time.time()) / 2
    except (OSError, http.client.HTTPException):
        return None
    return parsedate_to_datetime(told).timestamp() + 0.5 - here if told else None
