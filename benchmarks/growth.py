"""Flows of more and more tasks: the time for a task and the memory must not grow with their number.

The smaller flows run several times; their figures are medians. Memory is the process's own at the end of the tasks,
with Prefect, MLflow and what the contestants before left in it. Prefect's temporary server keeps no events here: it
takes thousands of tasks worse than what is measured, and locks its database for minutes.
"""

from __future__ import annotations

import os
import statistics
from argparse import Namespace
from typing import Any

from report import Goal, options, report
from stores import ground

_MOST_TURNS = 5
_MEGABYTE = 1024**2


def main(given: Namespace) -> None:
    """Measure, count and print."""
    sizes = sorted(given.sizes)
    seen: list[int] = []  # bytes at the end of each turn's tasks

    def calls(step: Any, tasks: int) -> None:
        from psutil import Process

        from sequence import one_by_one

        one_by_one(step, tasks)
        seen.append(Process().memory_info().rss)

    rows: list[dict[str, str | float]] = []
    with ground(given) as place:
        os.environ["PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED"] = "false"
        from contest import compete, count
        from contestants import BARE, FLOWML, LOGGED, contestants

        everybody = [each for each in contestants(place, calls) if each.name in {BARE, FLOWML}]
        written = 0
        for size in sizes:
            seen.clear()
            turns = min(_MOST_TURNS, max(1, sizes[-1] // size)) * given.rounds
            times = compete(everybody, size, turns, warm_up=2)
            written += size * turns + 2
            for number, each in enumerate(everybody):
                memory = seen[len(everybody) + number :: len(everybody)]  # without the warming up
                rows.append(
                    {
                        "contestant": each.name,
                        "tasks": size,
                        "ms in a call": 1000 / size * statistics.median(times[each.name].calls),
                        "ms until all is in MLflow": 1000 / size * statistics.median(times[each.name].whole),
                        "MB": statistics.median(memory) / _MEGABYTE,
                    }
                )
        counted = count(everybody, written, **LOGGED)
    goals = [
        Goal(f"{name}: {column}, {sizes[-1]} tasks / {sizes[0]}", _growth(rows, name, column), most=1.2)
        for name in (BARE, FLOWML)
        for column in ("ms in a call", "ms until all is in MLflow", "MB")
    ]
    report(given, "Growth of one flow", rows, goals, counted)


def _growth(rows: list[dict[str, str | float]], name: str, column: str) -> float:
    found = [float(row[column]) for row in rows if row["contestant"] == name]
    return found[-1] / found[0]


if __name__ == "__main__":
    parser = options(__doc__, rounds=1)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 5000])
    main(parser.parse_args())
