"""What sampling the machine costs: the processor's time of a task that sleeps, with and without it.

The share is of one core, over the time that the task sleeps. It depends on how many processes the machine has: each
look at the memory asks for all of them.
"""

from __future__ import annotations

import time
from argparse import Namespace
from typing import Any

from report import Goal, options, report
from stores import ground

_MOST = 0.01
SAMPLED, PLAIN = "sampled", "not sampled"


def main(given: Namespace) -> None:
    """Measure, count and print."""
    used: dict[str, list[float]] = {PLAIN: [], SAMPLED: []}
    with ground(given) as place:
        import statistics

        import psutil

        from contest import insist

        store = place.store("flowml", flowmls=True)
        store.use()
        rest(0.1, sampled=True)  # imports what there is to import
        for _ in range(given.rounds):
            for name, times in used.items():
                times.append(rest(given.body, sampled=name == SAMPLED))
        counted = {"flows and tasks with system metrics": sum(map(_is_sampled, store.runs()))}
        processes = len(psutil.pids())
    insist(counted, {"flows and tasks with system metrics": 2 * (given.rounds + 1)})
    rows: list[dict[str, str | float]] = [
        {"a task": name, "ms of the processor in a second": 1000 * statistics.median(times) / given.body}
        for name, times in used.items()
    ]
    extra = statistics.median(more - less for more, less in zip(used[SAMPLED], used[PLAIN], strict=True))
    goals = [Goal("of a core, for sampling", extra / given.body, most=_MOST)]
    title = f"A task of {given.body:g} s, {given.rounds} rounds, {processes} processes on the machine"
    report(given, title, rows, goals, counted)


def rest(seconds: float, *, sampled: bool) -> float:
    """Run a flow with a task that sleeps; the seconds of the processor that this process took meanwhile."""
    from flowml import Track, flow, task

    @task(track=Track(system_metrics=sampled))
    def sleep() -> float:
        began = time.process_time()
        time.sleep(seconds)
        return began

    @flow
    def resting() -> Any:
        return sleep(), time.process_time()

    began, ended = resting()
    return float(ended - began)


def _is_sampled(run: Any) -> bool:
    return "system/peak_memory_megabytes" in run.data.metrics


if __name__ == "__main__":
    parser = options(__doc__, rounds=3)
    parser.add_argument("--body", type=float, default=30.0, metavar="SECONDS", help="for which a task sleeps")
    main(parser.parse_args())
