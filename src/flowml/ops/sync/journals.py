"""Sends what processes of the project left in their journals, and closes the runs of those that were killed."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from flowml.formats import size
from flowml.store.journal.left import Waiting, waiting

if TYPE_CHECKING:
    from flowml.ops.reaping.news import News
    from flowml.store.backend.connection import Connection

_TOLD = 10  # lines of what is left out
_GRACE = 10.0  # seconds without news, after which Prefect has heard all of a killed process


@dataclass(frozen=True, slots=True)
class Report:
    """What was sent, and what still waits.

    Attributes:
        runs: How many runs are in MLflow now.
        closed: How many of them were closed, because their process was killed.
        waiting: How many still wait.
        in_use: How many journals belong to processes that are at work.
        journals: Those that are there now.
        problems: What went wrong, a line each.
        left_out: What MLflow will never take of what was sent, a line each.
        is_dry: Whether nothing was sent in truth.
    """

    runs: int
    closed: int
    waiting: int
    in_use: int
    journals: Sequence[Waiting]
    problems: Sequence[str]
    left_out: Sequence[str] = ()
    is_dry: bool = False

    def __bool__(self) -> bool:
        """Whether there is anything to say."""
        return bool(self.runs or self.waiting or self.in_use or self.journals or self.problems)

    @property
    def is_complete(self) -> bool:
        """Whether nothing went wrong."""
        return not self.problems and not self.waiting

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        there = [{"path": str(each.path), "since": each.since, "size": each.size} for each in self.journals]
        return dataclasses.asdict(self) | {"journals": there}

    def lines(self) -> list[str]:
        """Say it for people."""
        lines = [*self.problems, *(f"Left out: {each}" for each in self.left_out[:_TOLD])]
        lines += [f"Left out: {len(self.left_out) - _TOLD} more."] if len(self.left_out) > _TOLD else []
        lines += [f"{each.path.name}: {size(each.size)}, since {_when(each.since)}" for each in self.journals]
        if self.is_dry or not self:
            return [*lines, f"{len(self.journals)} journals wait." if self.journals else "No journal waits."]
        parts = [f"{self.runs} runs sent"]
        parts += [f"{self.closed} of them closed, for their process was killed"] if self.closed else []
        parts += [f"{self.waiting} wait"] if self.waiting else []
        parts += [f"{self.in_use} journals are of processes at work"] if self.in_use else []
        return [*lines, f"{', '.join(parts)}."]


def sync(*, to: str | None = None, dry_run: bool = False) -> Report:
    """Send what waits in journals whose process is gone.

    Args:
        to: The tracking URI of another store than the one it was meant for.
        dry_run: Send nothing.

    Returns:
        What was sent, and what waits.
    """
    there = waiting()
    if dry_run or not there:
        return Report(0, 0, 0, 0, there, (), is_dry=dry_run)
    from flowml.ops.reaping.news import News
    from flowml.store.recovery import recover

    close = partial(_close, News(at_once=True))  # whose journals are read here is gone
    found = recover([each.path for each in there], to=to, close=close)
    counts = (len(found.sent), found.closed, found.waiting, len(found.in_use))
    return Report(*counts, waiting(), found.problems, found.left_out)


def _close(news: News, connection: Connection, run_ids: Collection[str]) -> int:
    """Close what a killed process left open, as `flowml reap` decides.

    Raises:
        OrchestrationError: If Prefect cannot be asked.
    """
    from flowml.ops.reaping.reap_runs import reap_runs

    return len(reap_runs(only=run_ids, grace=_GRACE, connection=connection, news=news).closed)


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).astimezone().isoformat(" ", "minutes")
