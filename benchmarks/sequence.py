"""One task after the other, each with a run of its own: five parameters in, three metrics out.

"ms in a call" is what the user's code waits for. "ms until all is in MLflow" goes from the first call until everything
is durable there, less what bare Prefect takes to end a flow. A ratio is the median of the ratios within a round.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from report import Goal, options, report
from stores import ground

_WARM_UP = 2


def one_by_one(step: Any, tasks: int) -> None:
    """Call the task so many times."""
    for number in range(tasks):
        step(number, 1, 0.5, "text", e=True)


def main(given: Namespace) -> None:
    """Measure, count and print."""
    with ground(given) as place:
        from contest import compete, count, described, ratio, rows_of
        from contestants import BARE, FLOWML, FLUENT, LOGGED, contestants

        everybody = contestants(place, one_by_one, body=given.body)
        times = compete(everybody, given.tasks, given.rounds, warm_up=_WARM_UP)
        counted = count(everybody, given.tasks * given.rounds + _WARM_UP, **LOGGED)
    is_http, on_ram = given.store == "http", str(given.folder).startswith("/dev/shm")  # noqa: S108 - its name
    critical = ratio(times[FLOWML].calls, times[BARE].calls)
    goals = [Goal("in a call, flowml / bare Prefect", critical, most=_most_in_a_call(given.body, is_http=is_http))]
    if not given.body:
        most = (0.7 if given.workers == 1 else 0.25) if is_http else 0.7 if on_ram else 0.4
        whole = ratio(times[FLOWML].whole, times[FLUENT].whole)
        goals.append(Goal("until all is in MLflow, flowml / fluent MLflow by hand", whole, most=most))
    title = f"Sequence of {given.tasks} tasks, {given.rounds} rounds: {described(given)}"
    report(given, title, rows_of(times, given.tasks, bare=BARE, hand=FLUENT), goals, counted)


def _most_in_a_call(body: float, *, is_http: bool) -> float:
    return 1.05 if body else 1.5 if is_http else 2.0


if __name__ == "__main__":
    main(options(__doc__, tasks=50).parse_args())
