"""What ``served.json`` says: which registered models this project serves, and where they answer."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from flowml import settings
from flowml.stack import processes
from flowml.stack.processes import Process
from flowml.stack.state import Server

_FILE = "served.json"


@dataclass(frozen=True, slots=True)
class Serving:
    """A registered model that is served.

    Attributes:
        server: Its server; its name is what is served, such as ``churn@champion``.
        mark: What its processes are marked with.
    """

    server: Server
    mark: str


def read() -> list[Serving]:
    """Return those whose servers run; those that do not are forgotten."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        rows = json.loads(_path().read_text("utf-8"))
        found = [
            Serving(Server(**{**row["server"], "process": Process(**row["server"]["process"])}), row["mark"])
            for row in rows
        ]
        return [each for each in found if each.server.is_alive()]
    return []


def add(serving: Serving) -> None:
    """Note one more."""
    _write([*(each for each in read() if each.server.name != serving.server.name), serving])


def stop(some: list[Serving]) -> None:
    """End these servers and forget them."""
    for each in some:
        processes.stop([each.server.process], each.mark)
    if some:
        _write(read())


def _path() -> Path:
    return settings.home_folder() / _FILE


def _write(some: list[Serving]) -> None:
    place = _path()
    if not some:
        place.unlink(missing_ok=True)
        return
    draft = place.with_suffix(".draft")
    draft.write_text(json.dumps([asdict(each) for each in some], indent=2), "utf-8")
    draft.replace(place)
