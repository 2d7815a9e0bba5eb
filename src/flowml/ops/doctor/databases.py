"""Whether SQLite is asked for more than it can do: one writer at a time, on one machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from flowml.ops.doctor.findings import Finding, Setup
from flowml.ops.runs import reading
from flowml.process import in_tags, is_gone
from flowml.store.backend.failures import explained

if TYPE_CHECKING:
    from mlflow.entities import Run

_MANY = 4  # processes that write at the same time
_RECENT = 500  # runs that are looked at
_MOVE = "Use a server (`flowml up`, `mlflow server`), or PostgreSQL: FLOWML_TRACKING_URI=postgresql://..."


def sqlite(setup: Setup) -> Iterator[Finding]:
    """Look which processes and machines write to a SQLite store, and how it is kept."""
    path = Path(setup.uri.removeprefix("sqlite:///"))
    if not setup.uri.startswith("sqlite:///") or not path.exists():
        is_file = setup.uri.startswith("sqlite:///")
        yield Finding("ok", "There is no SQLite file yet" if is_file else "MLflow's store is no SQLite file")
        return
    with explained(setup.uri):
        recent = list(islice(reading().runs.newest("tags.`flowml.process` LIKE '%'", page=_RECENT), _RECENT))
    findings = [*_machines(recent), *_processes(recent), *_log(path)]
    yield from findings or [Finding("ok", f"{path} is written by one machine and few processes")]


def _machines(recent: list[Run]) -> Iterator[Finding]:
    hosts = sorted({found.host for run in recent if (found := in_tags(run.data.tags))})
    if len(hosts) > 1:
        listed = ", ".join(hosts[:5])
        message = (
            f"Several hosts write to one SQLite file ({listed}): on several machines, not just containers, it breaks."
        )
        yield Finding("warning", message, _MOVE)


def _processes(recent: list[Run]) -> Iterator[Finding]:
    tags = [run.data.tags for run in recent if run.info.status == "RUNNING"]
    alive = {in_tags(one) for one in tags if is_gone(one) is not True}
    if len(alive) > _MANY:
        yield Finding("warning", f"{len(alive)} processes write to one SQLite file: they wait for each other.", _MOVE)


def _log(path: Path) -> Iterator[Finding]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        mode = database.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal":
        yield Finding(
            "warning",
            f"{path} keeps no write-ahead log (journal_mode={mode}): who reads waits for who writes.",
            f"sqlite3 {path} 'PRAGMA journal_mode=WAL', once, while nobody uses it.",
        )
