"""The options that all benchmarks have, and what they print: a table for people or JSON for programs."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

_VERSIONS = ("prefect-flowml", "prefect", "mlflow", "scikit-learn", "SQLAlchemy")


@dataclass(frozen=True)
class Goal:
    """A ratio to reach.

    Attributes:
        what: Of what to what.
        ratio: What was measured.
        most: What it may be at most; None if a least is given.
        least: What it must be at least.
    """

    what: str
    ratio: float
    most: float | None = None
    least: float | None = None

    @property
    def reached(self) -> bool:
        """Whether it was reached."""
        return (self.most is None or self.ratio <= self.most) and (self.least is None or self.ratio >= self.least)

    @property
    def bound(self) -> str:
        """Say what was to reach."""
        return f"at most {self.most:g}" if self.most is not None else f"at least {self.least:g}"


def options(
    about: str | None, *, tasks: int | None = None, rounds: int = 5, stores: bool = True
) -> argparse.ArgumentParser:
    """Return a parser of the options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    if tasks is not None:
        parser.add_argument("--tasks", type=int, default=tasks, help="in one flow (default: %(default)s)")
        parser.add_argument("--body", type=float, default=0.0, metavar="SECONDS", help="for which a task sleeps")
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each contestant (default: %(default)s)")
    if stores:
        parser.add_argument("--store", choices=("sqlite", "http"), default="sqlite", help="default: %(default)s")
        parser.add_argument("--workers", type=int, help="of `mlflow server` (default: MLflow's)")
    parser.add_argument("--folder", help="where the databases are, such as /dev/shm (default: the temporary folder)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def report(
    given: argparse.Namespace,
    title: str,
    rows: Sequence[Mapping[str, str | float]],
    goals: Sequence[Goal],
    counted: Mapping[str, object] | None = None,
) -> None:
    """Print what was measured and counted, on which machine and with which versions."""
    if given.json:
        told = {
            "title": title,
            "options": {name: value for name, value in vars(given).items() if name not in {"json", "folder"}},
            "rows": rows,
            "goals": [{**asdict(goal), "reached": goal.reached} for goal in goals],
            "counted": counted,
            **circumstances(),
        }
        print(json.dumps(told, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, column in enumerate(rows[0]):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    console = Console(highlight=False)
    console.print(table)
    for goal in goals:
        console.print(f"{'reached' if goal.reached else 'MISSED '} {goal.what}: {goal.ratio:.2f} ({goal.bound})")
    if counted:
        console.print(f"counted in MLflow: {dict(counted)}")
    console.print(f"load average {circumstances()['load']:.1f}\n")


def circumstances() -> dict[str, object]:
    """Return the kind of machine, how busy it is, and the versions."""
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "load": os.getloadavg()[0],
        "versions": {name: version(name) for name in _VERSIONS},
    }


def _processor() -> str:
    try:
        about = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    models = [line.partition(":")[2].strip() for line in about.splitlines() if line.startswith("model name")]
    return models[0] if models else platform.machine()
