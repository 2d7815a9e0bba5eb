"""Many tasks at once, mapped over the threads of one flow, each with a run of its own.

By hand a run in a thread needs its parent's id told; the flow waits until all is in MLflow in each case. MLflow is
given a database connection for each thread: of its own 15 it runs out by hand.
"""

from __future__ import annotations

import os
import statistics
from argparse import Namespace
from typing import Any

from report import Goal, options, report
from stores import ground

_WARM_UP = 4


def mapped(step: Any, tasks: int) -> None:
    """Map the task over so many numbers and wait."""
    from prefect import unmapped

    step.map(range(tasks), 1, 0.5, unmapped("text"), e=True).result()


def main(given: Namespace) -> None:
    """Measure, count and print."""
    with ground(given) as place:
        os.environ["MLFLOW_SQLALCHEMYSTORE_POOL_SIZE"] = str(given.threads + 1)
        from contest import compete, count, described, ratio
        from contestants import FLOWML, FLUENT, LOGGED, contestants

        everybody = contestants(place, mapped, body=given.body, threads=given.threads)
        times = compete(everybody, given.tasks, given.rounds, warm_up=_WARM_UP)
        counted = count(everybody, given.tasks * given.rounds + _WARM_UP, **LOGGED)
    rows = [
        {
            "contestant": name,
            "tasks a second": given.tasks / statistics.median(took.calls),
            "tasks a second, all in MLflow": given.tasks / statistics.median(took.whole),
            "x hand-written": ratio(times[FLUENT].whole, took.whole),
        }
        for name, took in times.items()
    ]
    on_ram = str(given.folder).startswith("/dev/shm")  # noqa: S108 - its name
    faster = ratio(times[FLUENT].whole, times[FLOWML].whole)
    goal = Goal("tasks a second until all is in MLflow, flowml / by hand", faster, least=2.0 if on_ram else 2.5)
    title = f"{given.tasks} tasks on {given.threads} threads, {given.rounds} rounds: {described(given)}"
    report(given, title, rows, [goal], counted)


if __name__ == "__main__":
    parser = options(__doc__, tasks=200, rounds=3)
    parser.add_argument("--threads", type=int, default=16)
    main(parser.parse_args())
