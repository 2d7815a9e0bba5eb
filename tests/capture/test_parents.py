"""A call belongs under whose body made it, whatever context Prefect's generators leave behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from contextvars import Context, copy_context
from threading import Thread
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from prefect.context import TaskRunContext, with_context
from prefect.settings import PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW, temporary_settings
from tests.runs import all_runs, parent_of

from flowml import flow, task


@task(task_run_name="{name}")
def leaf(name: str) -> str:
    """Be called."""
    return name


@flow(flow_run_name="{name}")
def later(name: str) -> None:
    """Be called after generators were, and call."""
    leaf(f"in {name}")


@task(task_run_name="gen {number}")
def numbers(number: int) -> Iterator[int]:
    """Give some numbers, and call in between."""
    for each in range(number):
        leaf(f"{each} of gen {number}")
        yield each


@task(task_run_name="gen {number}")
async def numbers_async(number: int) -> AsyncIterator[int]:
    """Do the same as an async generator."""
    for each in range(number):
        leaf(f"{each} of gen {number}")
        yield each


@flow(flow_run_name="gen {number}")
def numbers_of_a_flow(number: int) -> Iterator[int]:
    """Do the same as a flow."""
    for each in range(number):
        leaf(f"{each} of gen {number}")
        yield each


def parents(client: MlflowClient) -> dict[str, str | None]:
    """Return the name of the run that each is under, by its name."""
    runs = all_runs(client)
    names = {run.info.run_id: str(run.info.run_name) for run in runs}
    found = {names[run.info.run_id]: names.get(parent_of(run) or "") for run in runs}
    assert len(found) == len(runs), "two runs have one name"
    return found


@pytest.fixture(autouse=True)
def _unsaid() -> Iterator[None]:
    """Let Prefect not say of a task without a flow that its log has nowhere to go."""
    with temporary_settings({PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}):
        yield


def apart(program: Callable[[], Any]) -> Any:
    """Run a program where what Prefect leaves behind it disturbs no other test."""
    return copy_context().run(program)


def in_step(generators: Callable[[int], Any]) -> None:
    """Consume two generators in step, call what is called by nobody else meanwhile and afterwards."""
    for one, other in zip(generators(1), generators(2), strict=False):
        leaf(f"between {one} and {other}")
    leaf("afterwards")


async def in_step_async() -> None:
    """Do the same with async generators."""
    one, other = numbers_async(1), numbers_async(2)
    with suppress(StopAsyncIteration):
        while True:
            leaf(f"between {await anext(one)} and {await anext(other)}")
    with suppress(AttributeError):  # Prefect cannot close an async generator
        await other.aclose()
    leaf("afterwards")


@flow(flow_run_name="around")
def around() -> None:
    """Consume generators in step."""
    in_step(numbers)


@flow(flow_run_name="around")
async def around_async() -> None:
    """Consume async generators in step."""
    await in_step_async()


def what_comes_later() -> None:
    """Call a flow and a task, and open a run by hand."""
    later("later flow")
    leaf("later task")
    with mlflow.start_run(run_name="by hand"):
        pass


async def all_async() -> None:
    """Do all in one event loop, where asyncio keeps what Prefect leaves behind."""
    await around_async()
    what_comes_later()


IN_STEP: dict[str, tuple[Callable[[], Any], str | None]] = {
    "generators": (lambda: (around(), what_comes_later()), "around"),
    "async generators": (lambda: asyncio.run(all_async()), "around"),
    "flows that are generators": (lambda: (in_step(numbers_of_a_flow), what_comes_later()), None),
}


@pytest.mark.parametrize("program, consumer", IN_STEP.values(), ids=IN_STEP.keys())
def test_what_follows_generators_in_step_is_not_under_them(
    client: MlflowClient, program: Callable[[], Any], consumer: str | None
) -> None:
    """Generators that are consumed in step take nothing in that was called between them, after them, and later."""
    apart(program)
    found = parents(client)
    assert found.pop(consumer or "", None) is None
    consumed = dict.fromkeys(("gen 1", "gen 2", "between 0 and 0", "afterwards"), consumer)
    called = {"0 of gen 1": "gen 1", "0 of gen 2": "gen 2", "in later flow": "later flow"}
    assert found == consumed | called | dict.fromkeys(("later flow", "later task", "by hand"))
    (by_hand,) = [run for run in all_runs(client) if run.info.run_name == "by hand"]
    assert not [tag for tag in by_hand.data.tags if tag.startswith("prefect.")]


def test_a_generators_consumer_is_not_in_its_body(client: MlflowClient) -> None:
    """What is called between two values is under the consumer, also outside all flows and in another thread."""

    def consume() -> None:
        for each in numbers(1):
            leaf.with_options(task_run_name=None, name="leaf alone")("x")
            later(f"flow {each}")
            thread = Thread(target=Context().run, args=[with_context(lambda: later("flow in a thread"))])
            thread.start()
            thread.join()
            with mlflow.start_run(run_name="by hand"):
                pass

    apart(consume)
    roots = dict.fromkeys(("gen 1", "leaf alone", "flow 0", "flow in a thread", "by hand"))
    called = {"0 of gen 1": "gen 1", "in flow 0": "flow 0", "in flow in a thread": "flow in a thread"}
    assert parents(client) == roots | called


def test_a_task_that_is_sent_to_a_worker_is_under_the_one_who_sends_it(client: MlflowClient) -> None:
    """What a generator's consumer sends to another process, and what its body sends, is each under its own."""

    @task(task_run_name="sender")
    def send() -> Iterator[None]:
        elsewhere("sent by the body")
        yield

    def elsewhere(name: str) -> None:
        thread = Thread(target=Context().run, args=[with_context(lambda: leaf(name))])  # a worker knows no session
        thread.start()
        thread.join()

    @task(task_run_name="consumer")
    def consume() -> None:
        for _ in zip(send(), numbers(2), strict=False):
            elsewhere("sent meanwhile")
        elsewhere("sent afterwards")

    @flow(flow_run_name="around")
    def around() -> None:
        consume()
        elsewhere("sent by the flow")

    apart(around)
    found = parents(client)
    assert found["sender"] == "consumer"
    assert found["sent by the body"] == "sender"
    assert found["sent meanwhile"] == found["sent afterwards"] == "consumer"
    assert found["sent by the flow"] == "around"


def test_what_a_hook_calls_is_under_the_run_that_ended(client: MlflowClient) -> None:
    """A flow that another one's hook calls is under that one, as in Prefect; one that is called later is not."""

    @flow(flow_run_name="ended", on_completion=[lambda *_: later("called by the hook")])
    def ended() -> None:
        for _ in zip(numbers(1), numbers(2), strict=False):
            pass

    apart(lambda: (ended(), later("later flow")))
    found = parents(client)
    assert found["called by the hook"] == "ended"
    assert found["later flow"] is None


@task(task_run_name="closed")
def closes_with_a_call() -> Iterator[int]:
    """Call while it is closed."""
    try:
        yield 1
        yield 2
    finally:
        leaf("while it was closed")


def close(generator: Any) -> None:
    """Close a generator."""
    generator.close()


def close_in_a_thread(generator: Any) -> None:
    """Close a generator in another thread, where Prefect cannot take its contexts away."""
    thread = Thread(target=suppressed, args=[generator.close])
    thread.start()
    thread.join()


def suppressed(call: Callable[[], Any]) -> None:
    """Ignore that Prefect's context was set in another thread."""
    with suppress(ValueError):
        call()


def let_go(generator: Any) -> None:
    """Let it be closed because nobody holds it any more; the caller does not, either."""


@pytest.mark.parametrize("end", [close, close_in_a_thread, let_go])
def test_a_generator_that_is_left_early_takes_nothing_in(client: MlflowClient, end: Callable[[Any], Any]) -> None:
    """What its body calls while it is closed is under it, what is called afterwards is not; its run is closed."""

    def leave() -> None:
        @flow(flow_run_name="around")
        def around() -> None:
            held = [closes_with_a_call()]
            assert next(held[0]) == 1
            end(held.pop())
            leaf("afterwards")

        around()
        later("later flow")
        assert not TaskRunContext.get() or end is close_in_a_thread

    apart(leave)
    found = parents(client)
    assert found["closed"] == found["afterwards"] == "around"
    assert found["while it was closed"] == "closed"
    assert found["later flow"] is None
    assert {run.info.status for run in all_runs(client) if run.info.run_name != "closed"} == {"FINISHED"}
    assert all(run.info.status != "RUNNING" for run in all_runs(client))
