"""Four ways to run the same task: Prefect alone, with MLflow by hand in two ways, and flowml."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import mlflow
import prefect
from mlflow.entities import Metric, Param
from mlflow.tracking.context import registry
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

import flowml
from contest import Body, Contestant
from flowml.plugins import PrefectContext
from stores import Ground, Store

BARE, FLUENT, CLIENT, FLOWML = "Prefect", "fluent MLflow by hand", "MlflowClient by hand", "flowml"
LOGGED = {"params": 5, "metrics": 3}  # of each task
_PARENT = "mlflow.parentRunId"

Calls = Callable[[Any, int], object]
Work = Callable[[int, int, float, str, bool], dict[str, float]]


def leave_mlflow_plain() -> None:
    """Give runs opened by hand no tags of flowml's: people without flowml do not pay for them."""
    providers = registry._run_context_provider_registry._registry  # noqa: SLF001 - MLflow has no other way
    providers[:] = [provider for provider in providers if not isinstance(provider, PrefectContext)]


def contestants(place: Ground, calls: Calls, *, body: float = 0.0, threads: int = 1) -> list[Contestant]:
    """Return the four, bare Prefect first.

    Args:
        place: Where they write.
        calls: Calls a task so many times.
        body: Seconds for which the task sleeps.
        threads: Of the flow's task runner.
    """
    leave_mlflow_plain()

    def work(a: int, b: int, c: float, d: str, e: bool) -> dict[str, float]:  # noqa: FBT001 - five of five types
        if body:
            time.sleep(body)
        return {"sum": a + b + c, "length": float(len(d)), "flag": float(e)}

    fluent, client, own = place.store(FLUENT), place.store(CLIENT), place.store(FLOWML, flowmls=True)
    runner = ThreadPoolTaskRunner(max_workers=threads)

    def made(
        flow: Any, task: Any, fn: Work, around: Callable[[], AbstractContextManager[None]]
    ) -> Callable[[int], Body]:
        step = task(fn, name="step", cache_policy=NO_CACHE)

        @flow(name="work", task_runner=runner)
        def of_tasks(tasks: int) -> Body:
            with around():
                began = time.perf_counter()
                calls(step, tasks)
                taken = time.perf_counter() - began
            return Body(began, taken, time.perf_counter())

        return of_tasks

    return [
        Contestant(BARE, made(prefect.flow, prefect.task, work, nullcontext)),
        Contestant(FLUENT, made(prefect.flow, prefect.task, *by_fluent(fluent, work)), fluent),
        Contestant(CLIENT, made(prefect.flow, prefect.task, *by_client(client, work)), client),
        Contestant(FLOWML, made(flowml.flow, flowml.task, work, all_sent), own),
    ]


@contextmanager
def all_sent() -> Iterator[None]:
    """Let flowml send what it has at the end of the body, so that nothing is sent while Prefect ends the flow."""
    yield
    flowml.flush()


def by_fluent(store: Store, work: Work) -> tuple[Work, Callable[[], AbstractContextManager[None]]]:
    """Return the task with MLflow's fluent calls in it, as people write it, and what they write round the tasks."""
    tags: dict[str, str] = {}  # MLflow's own stack of runs ends at a thread's border

    @contextmanager
    def around() -> Iterator[None]:
        with mlflow.start_run(run_name="work", experiment_id=store.experiment_id) as run:
            tags[_PARENT] = run.info.run_id
            yield

    def by_hand(a: int, b: int, c: float, d: str, e: bool) -> dict[str, float]:  # noqa: FBT001
        with mlflow.start_run(nested=True, experiment_id=store.experiment_id, tags=tags):
            mlflow.log_params({"a": a, "b": b, "c": c, "d": d, "e": e})
            found = work(a, b, c, d, e)
            mlflow.log_metrics(found)
        return found

    return by_hand, around


def by_client(store: Store, work: Work) -> tuple[Work, Callable[[], AbstractContextManager[None]]]:
    """Return the same with the fewest calls that one can write by hand: one batch for a run."""
    client = mlflow.MlflowClient(store.uri)
    tags: dict[str, str] = {}

    @contextmanager
    def around() -> Iterator[None]:
        run = client.create_run(store.experiment_id, run_name="work")
        tags[_PARENT] = run.info.run_id
        yield
        client.set_terminated(run.info.run_id)

    def by_hand(a: int, b: int, c: float, d: str, e: bool) -> dict[str, float]:  # noqa: FBT001
        run = client.create_run(store.experiment_id, tags=tags)
        found = work(a, b, c, d, e)
        params = [Param(key, str(value)) for key, value in {"a": a, "b": b, "c": c, "d": d, "e": e}.items()]
        now = time.time_ns() // 1_000_000
        metrics = [Metric(key, value, now, 0) for key, value in found.items()]
        client.log_batch(run.info.run_id, metrics=metrics, params=params)
        client.set_terminated(run.info.run_id)
        return found

    return by_hand, around
