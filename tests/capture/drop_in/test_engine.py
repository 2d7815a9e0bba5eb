"""What Prefect's engine does with states: retries, timeouts, dependencies, hooks, names, limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import prefect
import prefect.runtime.flow_run
import prefect.runtime.task_run
import pytest
from prefect import allow_failure, get_run_logger, tags, unmapped
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency, rate_limit
from prefect.states import Cancelled, Completed, Failed
from prefect.utilities.annotations import quote
from tests.capture.drop_in.conftest import Compare
from tests.capture.drop_in.sides import Side, plain


def of_retries(side: Side) -> Any:
    """A task that recovers, one whose condition says no, one that gives up; a flow that is tried again."""
    attempts = {"recovering": 0, "flow": 0}

    @side.task(retries=2, retry_delay_seconds=[0, 0.01], retry_jitter_factor=None)
    def recovering() -> int:
        attempts["recovering"] += 1
        if attempts["recovering"] < 3:
            raise ValueError("not yet")
        return prefect.runtime.task_run.run_count

    @side.task(retries=3, retry_condition_fn=lambda _task, _run, state: "again" in (state.message or ""))
    def hopeless() -> None:
        raise KeyError("never")

    @side.task(retries=1, retry_delay_seconds=lambda retries: [0.0] * retries)
    async def giving_up() -> None:
        raise OSError("gone")

    @side.flow(retries=1)
    def pipeline() -> Any:
        attempts["flow"] += 1
        states = plain([recovering(return_state=True), hopeless(return_state=True)])
        states.append(plain(giving_up.submit(return_state=True)))
        if attempts["flow"] == 1:
            raise RuntimeError("once more")
        return states, prefect.runtime.flow_run.run_count

    return pipeline(), attempts


def of_timeouts(side: Side) -> Any:
    """Sync and async tasks that take too long."""

    @side.task(timeout_seconds=0.2)
    def slow() -> None:
        for _ in range(500):
            time.sleep(0.01)

    @side.task(timeout_seconds=0.2)
    async def slow_async() -> None:
        await asyncio.sleep(5)

    @side.flow
    def pipeline() -> Any:
        return plain([slow(return_state=True), slow_async.submit(return_state=True)])

    @side.flow(timeout_seconds=0.2)
    async def slow_pipeline() -> None:
        await asyncio.sleep(5)

    return pipeline(), asyncio.run(slow_pipeline(return_state=True))


def of_states(side: Side) -> Any:
    """Return states of one's own; a flow's end follows from what it returns."""

    @side.task
    def naming(state: str) -> Any:
        made = {"done": Completed, "bad": Failed, "off": Cancelled}[state]
        return made(message=f"said {state}", **({"name": "Mine"} if state == "done" else {}))

    @side.flow
    def returning(state: str) -> Any:
        return naming(state, return_state=True)

    @side.flow
    def sub(x: int) -> int:
        get_run_logger().info("in the sub flow")
        if x == 2:
            raise ZeroDivisionError("sub")
        return 1

    @side.flow
    def outer() -> Any:
        return plain([sub(1), sub(2, return_state=True), prefect.runtime.flow_run.name])

    return [returning(state, return_state=True) for state in ("done", "bad", "off")], outer()


def of_dependencies(side: Side) -> Any:
    """``wait_for``, ``unmapped``, ``allow_failure``, ``quote``, futures and states as arguments."""

    @side.task
    def one(x: int) -> int:
        if x == 2:
            raise ValueError("one")
        return x

    @side.task
    def seen(value: Any, more: Any = None) -> str:
        return f"{type(value).__name__} {value!r} {more!r}"

    @side.flow
    def pipeline() -> Any:
        good, bad = one.submit(1), one.submit(2)
        good.wait()
        bad.wait()
        return plain(
            [
                seen(good),
                seen({"deep": [good]}),
                seen(1, wait_for=[good]),
                seen(1, wait_for=[bad], return_state=True),
                seen(bad, return_state=True),
                seen(allow_failure(bad), return_state=True),
                seen.submit(1, wait_for=[allow_failure(bad)]).result(),
                seen(quote([good.state.name])),
                seen.map([1, 2], more=unmapped([3, 4])).result(),
                seen(good.state),
            ]
        )

    return pipeline()


def of_hooks(side: Side) -> Any:
    """Hooks of all kinds, by option and by method, with what they are given."""
    heard: list[Any] = []

    def hook(of: Any, run: Any, state: Any) -> None:
        heard.append(
            [
                isinstance(of, prefect.Flow),
                of.name,
                type(run).__name__,
                run.run_count,
                plain(state.name),
                of.fn.__name__,
            ]
        )

    def broken(of: Any, run: Any, state: Any) -> None:
        raise RuntimeError("a hook's own error")

    hooks = {"on_completion": [hook, broken], "on_failure": [hook], "on_running": [hook]}

    @side.task(**hooks, retries=1)
    def work(x: int) -> int:
        if x == 2:
            raise ValueError("no")
        return x

    @work.on_completion
    def by_method(of: Any, run: Any, state: Any) -> None:
        heard.append(["by method", state.result()])

    @side.flow(**hooks)
    def pipeline(x: int) -> int:
        return work(x)

    @pipeline.on_failure
    async def later(of: Any, run: Any, state: Any) -> None:
        heard.append(["later", run.name == prefect.runtime.flow_run.name, state.message])

    return pipeline(1), pipeline.with_options(retries=0)(2, return_state=True), heard


def of_names(side: Side) -> Any:
    """Run names by template and by function, tags, versions and descriptions, as the runtime tells them."""

    def told() -> Any:
        run = prefect.runtime.task_run
        return [run.name, sorted(run.tags), run.parameters, run.task_name, run.run_count]

    @side.task(task_run_name="{x}-by-template-{y:02d}", tags=["own"], version="3", description="said")
    def by_template(x: str, y: int = 5) -> Any:
        return told()

    @side.task(task_run_name=lambda: "by function", name="Another Name")
    def by_function() -> Any:
        return told()

    @side.task(task_run_name=lambda parameters: f"given {parameters['x']}")
    def by_parameters(x: int) -> Any:
        return told()

    @side.flow(flow_run_name="of {day} in {place!r}", version="2.0", description="A flow", name="Named Flow")
    def pipeline(day: int, place: str = "here") -> Any:
        with tags("around"):
            run = prefect.runtime.flow_run
            flow = [run.name, sorted(run.tags), run.parameters, run.flow_name, run.flow_version, run.run_count]
            return flow, by_template("a"), by_function(), by_parameters(7)

    with tags("outside"):
        given = pipeline(3)
    return given, pipeline.with_options(flow_run_name=lambda: "called")(4), pipeline.description


def of_prints(side: Side) -> Any:
    """``log_prints`` in a flow and a task, and prints that are not to be logged."""

    @side.task
    def talking() -> None:
        print("from the task")  # noqa: T201 - what is tested

    @side.task(log_prints=False)
    def quiet() -> None:
        print("not logged")  # noqa: T201 - what is tested

    @side.flow(log_prints=True)
    def pipeline() -> None:
        print("from the flow")  # noqa: T201 - what is tested
        talking()
        quiet()
        get_run_logger().warning("careful")

    pipeline()


def of_limits(side: Side) -> Any:
    """Concurrency limits by tag, by name, and rate limits."""
    rate = f"rate-{uuid4()}"
    with get_client(sync_client=True) as client:
        client.create_concurrency_limit(tag="one-at-a-time", concurrency_limit=1)
        client.upsert_global_concurrency_limit_by_name("pool", 1)
        client._client.post(
            "/v2/concurrency_limits/", json={"name": rate, "limit": 5, "slot_decay_per_second": 50}
        ).raise_for_status()
    at_once: list[int] = [0, 0]

    @side.task(tags=["one-at-a-time"])
    def alone(number: int) -> int:
        at_once[0] += 1
        at_once[1] = max(at_once)
        at_once[0] -= 1
        return number

    @side.flow
    def pipeline() -> Any:
        with concurrency("pool", occupy=1):
            rate_limit(rate)
            return alone(1), alone.submit(2).result()

    return pipeline(), at_once


@pytest.mark.parametrize(
    "scenario",
    [
        of_retries,
        of_timeouts,
        pytest.param(of_states, marks=pytest.mark.slow),
        of_dependencies,
        of_hooks,
        pytest.param(of_names, marks=pytest.mark.slow),
        of_prints,
        pytest.param(of_limits, marks=pytest.mark.slow),
    ],
    ids=lambda scenario: scenario.__name__,
)
def test_the_engine_treats_flowmls_as_its_own(scenario: Callable[[Side], Any], compare: Compare) -> None:
    """What Prefect's engine does with flows and tasks it does with flowml's, to the words of the log."""
    assert compare(scenario, ordered=scenario is not of_dependencies).lines
