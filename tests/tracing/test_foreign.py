"""Plain Prefect tasks and flows in a flow that asks for them: tracked, and untouched."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import prefect
import pytest
from mlflow import MlflowClient
from prefect.cache_policies import INPUTS
from prefect.context import TaskRunContext
from prefect.states import State
from prefect.task_runners import ProcessPoolTaskRunner
from tests.runs import all_runs, flow_run, parent_of, run_of, runs_of
from tests.tracing.traced import drawn, spans, the_trace

from flowml import Track, flow, task

FOREIGN = Track(foreign_tasks=True)


@prefect.task
def double(number: int) -> int:
    """Be Prefect's."""
    return number * 2


@prefect.task
async def double_async(number: int) -> int:
    """Be Prefect's, and async."""
    await asyncio.sleep(0)
    return number * 2


@prefect.flow
def doubling(number: int) -> int:
    """Be a plain flow."""
    return double(number)


def test_they_have_runs(client: MlflowClient) -> None:
    """Called, submitted and mapped, async and in a plain flow: each has a run under its caller's, with its values."""

    @flow(track=FOREIGN)
    async def own() -> int:
        assert await double_async(1) == 2
        futures = [double_async.submit(2), *double_async.map([3, 4])]
        assert [future.result() for future in futures] == [4, 6, 8]
        return doubling(5)

    assert asyncio.run(own()) == 10
    root, below = flow_run(client), run_of(client, "doubling")
    values = sorted((run.data.params["number"], run.data.metrics) for run in runs_of(client, "double_async"))
    assert values == [(str(n), {"double_async": n * 2.0}) for n in (1, 2, 3, 4)]
    assert {parent_of(run) for run in [*runs_of(client, "double_async"), below]} == {root.info.run_id}
    assert parent_of(run_of(client, "double")) == below.info.run_id
    assert {run.info.status for run in all_runs(client)} == {"FINISHED"}


def test_without_the_option_they_have_none(client: MlflowClient) -> None:
    """Plain tasks are Prefect's alone, also beside tasks of flowml's."""

    @task
    def mine(number: int) -> int:
        return double.fn(number)

    @flow
    def own() -> int:
        return mine(double(1)) + doubling(2)

    assert own() == 8
    assert sorted(run.data.tags["flowml.kind"] for run in all_runs(client)) == ["flow", "task"]


def test_they_are_left_as_they_are(client: MlflowClient) -> None:
    """The task in Prefect's context, its function, its cache and its states are what they are without flowml."""
    seen: list[Any] = []

    @prefect.task(cache_policy=INPUTS, persist_result=True)
    def costly(text: str) -> str:
        context = TaskRunContext.get()
        seen.append(context and context.task)
        return text

    new = uuid4().hex  # Prefect keeps results beyond a test

    @flow(track=FOREIGN)
    def own() -> list[State[str]]:
        return [costly(new, return_state=True), costly(new, return_state=True)]

    before = costly.fn
    first, second = own()
    assert seen == [costly]
    assert seen[0] is costly
    assert costly.fn is before
    assert (first.name, second.name, second.result()) == ("Completed", "Cached", new)
    assert [run.data.tags.get("flowml.cached") for run in runs_of(client, "costly")] == [None, "true"]


def test_each_attempt_of_theirs_has_a_run_and_a_span(client: MlflowClient) -> None:
    """A plain task that is tried again has two runs and two spans in a traced flow; a failure is its own."""
    tries = []

    @prefect.task(retries=1)
    def unsure() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("once")

    @prefect.task
    def hopeless() -> None:
        raise KeyError("never")

    @flow(track=Track(foreign_tasks=True, trace=True))
    def own() -> None:
        unsure()
        hopeless(return_state=True)

    own()
    assert [run.info.status for run in runs_of(client, "unsure")] == ["FAILED", "FINISHED"]
    assert run_of(client, "hopeless").data.tags["flowml.error_type"] == "KeyError"
    trace = the_trace(client)
    assert drawn(trace).split() == ["own", "unsure", "unsure", "hopeless"]
    assert [span.status.status_code.value for span in spans(trace, "unsure")] == ["ERROR", "OK"]


def test_a_generator_of_theirs_has_a_run(client: MlflowClient) -> None:
    """Its values go through untouched; its run says how it ended."""

    @prefect.task
    def counting(most: int) -> Iterator[int]:
        yield from range(most)

    @flow(track=FOREIGN)
    def own() -> list[int]:
        return list(counting(3))

    assert own() == [0, 1, 2]
    assert run_of(client, "counting").info.status == "FINISHED"


@pytest.mark.slow
@pytest.mark.e2e
def test_they_are_tracked_in_other_processes(client: MlflowClient) -> None:
    """In a process pool's worker, too, which learns from the call that its caller asks for it."""

    @flow(track=Track(foreign_tasks=True, trace=True), task_runner=ProcessPoolTaskRunner(max_workers=1))
    def own() -> int:
        return double.submit(4).result()

    assert own() == 8
    assert run_of(client, "double").data.metrics == {"double": 8.0}
    assert drawn(the_trace(client)).split() == ["own", "double"]


@pytest.mark.filterwarnings("ignore")  # of a young library, about its own old names
def test_an_agent_runs_unchanged(client: MlflowClient) -> None:
    """Each call of the model and of a tool by a Prefect agent of Pydantic AI is a run, and a span, in the flow."""
    agents = pytest.importorskip("pydantic_ai")
    from pydantic_ai.durable_exec.prefect import PrefectAgent
    from pydantic_ai.models.test import TestModel

    agent = agents.Agent(TestModel(), name="forecast")

    @agent.tool_plain
    def weather(city: str) -> str:
        return f"sunny in {city}"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        durable = PrefectAgent(agent)

    @flow(track=Track(foreign_tasks=True, trace=True))
    async def chat() -> str:
        return str((await durable.run("How is the weather?")).output)

    assert asyncio.run(chat()) == '{"weather":"sunny in a"}'
    names = ["chat", "forecast Run", "Model Request: test", "Call Tool: weather", "Model Request: test"]
    assert [line.strip() for line in drawn(the_trace(client)).splitlines()] == names
    agents_run = run_of(client, "forecast Run")
    called = [run for run in all_runs(client) if parent_of(run) == agents_run.info.run_id]
    assert [run.data.tags["prefect.task_name"] for run in called] == names[2:]
    assert {run.info.status for run in all_runs(client)} == {"FINISHED"}
