"""What waits in the offline store, told without MLflow."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from flowml.store.backend import offline
from flowml.store.backend.reading import sqlite_runs
from flowml.store.copying.marks import SYNCED


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is in the offline store.

    Attributes:
        runs: How many runs were never copied completely.
        since: When the first of these began, as ISO 8601; None if there is none.
        size: The bytes of the store, with all that was copied and is still there.
        store: The store's tracking URI.
    """

    runs: int
    since: str | None
    size: int
    store: str

    def __str__(self) -> str:
        """Say it in a line."""
        size = f"{self.size / 2**20:.1f} MiB"
        if not self.runs:
            return f"No run waits offline; the store takes {size}"
        return f"{self.runs} runs wait offline since {self.since}; the store takes {size}"

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dataclasses.asdict(self)


def is_there() -> bool:
    """Tell whether anything was ever tracked offline in this project."""
    return Path(offline.uri().removeprefix("sqlite:///")).exists()


def waiting() -> Waiting | None:
    """Look at the offline store; None if there is none, or if it cannot be read."""
    if not is_there():
        return None
    try:
        count, first = sqlite_runs.lacking(offline.uri(), SYNCED)
    except sqlite3.Error:
        return None
    since = datetime.fromtimestamp(first / 1000, timezone.utc).isoformat(timespec="seconds") if first else None
    return Waiting(count, since, sum(_sizes()), offline.uri())


def _sizes() -> Iterator[int]:
    database = Path(offline.uri().removeprefix("sqlite:///"))
    folder = Path(unquote(urlsplit(offline.artifact_root()).path))
    for file in [*database.parent.glob(f"{database.name}*"), *folder.rglob("*")]:
        try:
            yield file.stat().st_size if file.is_file() else 0
        except OSError:  # it is removed at this moment
            continue
