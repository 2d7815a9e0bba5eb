"""What `reap` did, for people and for programs."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reaped:
    """One run that was closed, or would be."""

    run_id: str
    name: str
    flow_run: str
    status: str
    why: str


@dataclass(slots=True)
class Report:
    """What was done.

    Attributes:
        dry_run: Whether nothing was done in truth.
        closed: The runs that were closed, or would be.
        running: How many stay open because nothing says that they have ended.
        in_grace: How many stay open because they ended only a moment ago.
        strangers: How many stay open because this Prefect does not know them, by the Prefect that does.
    """

    dry_run: bool
    closed: list[Reaped] = field(default_factory=list)
    running: int = 0
    in_grace: int = 0
    strangers: Counter[str] = field(default_factory=Counter)

    @property
    def open(self) -> int:
        """How many runs with a Prefect id stay open."""
        return self.running + self.in_grace + self.strangers.total()

    @property
    def summary(self) -> str:
        """Say in a sentence or two what was closed, and what stays open and why."""
        done = f"{len(self.closed)} {'would be ' * self.dry_run}closed, {self.open} of Prefect's runs stay open"
        reasons = {"running": self.running, "ended a moment ago": self.in_grace}
        reasons |= {f"unknown here, known to Prefect at {api}": count for api, count in self.strangers.items()}
        parts = [f"{count} {reason}" for reason, count in reasons.items() if count]
        return f"{done}: {', '.join(parts)}." if parts else f"{done}."

    def as_json(self) -> dict[str, Any]:
        """Return the whole report as plain values."""
        return {
            "dry_run": self.dry_run,
            "closed": [dataclasses.asdict(run) for run in self.closed],
            "open": {"running": self.running, "in_grace": self.in_grace, "strangers": dict(self.strangers)},
        }

    def print(self, *, as_json: bool) -> None:
        """Print a table to a terminal, plain lines to anything else, or JSON; then the summary."""
        if as_json:
            sys.stdout.write(f"{json.dumps(self.as_json(), indent=2)}\n")
            return
        if self.closed and sys.stdout.isatty():
            self._print_table()
        else:
            for run in self.closed:
                sys.stdout.write("\t".join(str(value) for value in dataclasses.astuple(run)) + "\n")
        sys.stdout.write(f"{self.summary}\n")

    def _print_table(self) -> None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table()
        for title in ("run", "flow run", "status", "why"):
            table.add_column(title)
        for run in self.closed:
            table.add_row(*map(Text, (f"{run.name}\n{run.run_id}", run.flow_run, run.status, run.why)))
        Console().print(table)
