"""So many spans in one flow: MLflow's tracing alone, against the same in a flow that flowml traces.

Each contestant has one task that calls a function traced by MLflow so many times. "ms in a call" is a span's share of
the task; "ms until all is in MLflow" goes on until every span is there. Bare Prefect calls the function untraced.
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from report import Goal, options, report
from stores import ground

_WARM_UP = 10
_MOST = 1.1
ALONE, TRACED = "MLflow's tracing alone", "flowml, traced"


def main(given: Namespace) -> None:
    """Measure, count and print."""
    with ground(given) as place:
        from contest import compete, described, insist, ratio, rows_of
        from contestants import BARE

        everybody = contestants(place)
        times = compete(everybody, given.tasks, given.rounds, warm_up=_WARM_UP)
        counted = {each.name: _spans(each.store) for each in everybody if each.store}
    turns, spans = given.rounds + 1, given.tasks * given.rounds + _WARM_UP
    insist(counted, {ALONE: spans + turns, TRACED: spans + 2 * turns})  # with those of the task, and the flow
    goals = [
        Goal("in a call, flowml / MLflow's tracing alone", ratio(times[TRACED].calls, times[ALONE].calls), most=_MOST),
        Goal("until all is in MLflow, likewise", ratio(times[TRACED].whole, times[ALONE].whole), most=_MOST),
    ]
    title = f"{given.tasks} spans in a flow, {given.rounds} rounds: {described(given)}"
    report(given, title, rows_of(times, given.tasks, bare=BARE, hand=ALONE), goals, counted)


def contestants(place: Any) -> list[Any]:
    """Return the three, bare Prefect first."""
    import mlflow
    import prefect

    import flowml
    from contest import Body, Contestant
    from contestants import BARE

    own, alone = place.store(TRACED, flowmls=True), place.store(ALONE)

    def work(number: int) -> int:
        return number + 1

    traced = mlflow.trace(work)

    def many(one: Callable[[int], int], count: int) -> float:
        began = time.perf_counter()
        for number in range(count):
            one(number)
        return time.perf_counter() - began

    def alone_in_mlflow(count: int) -> float:
        mlflow.set_experiment(ALONE)
        with mlflow.start_span("task"):
            return many(traced, count)

    def made(flow: Any, task: Any, work: Callable[[int], float], sent: Callable[[], object]) -> Callable[[int], Body]:
        step = task(work, name="step")

        @flow(name="work")
        def calls(count: int) -> Body:
            began = time.perf_counter()
            taken = step(count)
            sent()
            return Body(began, taken, time.perf_counter())

        return calls

    def all_sent() -> None:
        mlflow.flush_trace_async_logging()
        flowml.flush()

    in_flow = flowml.flow
    return [
        Contestant(BARE, made(prefect.flow, prefect.task, lambda count: many(work, count), lambda: None)),
        Contestant(ALONE, made(prefect.flow, prefect.task, alone_in_mlflow, mlflow.flush_trace_async_logging), alone),
        Contestant(
            TRACED,
            made(
                lambda **given: in_flow(track=flowml.Track(trace=True), **given),
                flowml.task,
                lambda count: many(traced, count),
                all_sent,
            ),
            own,
        ),
    ]


def _spans(store: Any) -> int:
    """Count the spans in a store."""
    from mlflow import MlflowClient

    client = MlflowClient(store.uri)
    experiment = client.get_experiment_by_name(store.name)
    found, token = 0, None
    while experiment:
        page = client.search_traces(locations=[experiment.experiment_id], max_results=50, page_token=token)
        found += sum(len(trace.data.spans) for trace in page)
        token = page.token
        if not token:
            break
    return found


if __name__ == "__main__":
    main(options(__doc__, tasks=1000).parse_args())
