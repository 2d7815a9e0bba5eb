"""One trace for a flow run: what its spans tell."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from uuid import uuid4

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from prefect.cache_policies import INPUTS
from prefect.states import Cancelled
from tests.runs import all_runs, flow_run, run_of, runs_of
from tests.tracing.traced import all_traces, drawn, spans, the_trace

from flowml import Skip, Track, flow, task

TRACED = Track(trace=True)


@mlflow.trace
def asked(question: str) -> str:
    """Be traced by MLflow."""
    return question.upper()


def test_a_flow_run_is_one_trace(client: MlflowClient) -> None:
    """Tasks, subflows and what MLflow traces in them are below the flow's span; trace and run lead to each other."""

    @task
    def ask(question: str) -> str:
        return asked(question)

    @flow
    def below() -> None:
        ask("there?")

    @flow(track=TRACED)
    def chat() -> str:
        asked("hello?")
        below()
        return ask("you?")

    chat()
    trace, run = the_trace(client), flow_run(client)
    assert drawn(trace).split() == ["chat", "asked", "below", "ask", "asked", "ask", "asked"]
    assert drawn(trace).splitlines()[2:5] == ["  below", "    ask", "      asked"]
    assert trace.info.trace_metadata["mlflow.sourceRun"] == run.info.run_id
    assert trace.info.experiment_id == run.info.experiment_id
    assert run.data.tags["flowml.trace_id"] == trace.info.trace_id
    assert f"traces?selectedEvaluationId={trace.info.trace_id}" in run.data.tags["mlflow.note.content"]
    assert (trace.info.tags["mlflow.traceName"], str(trace.info.state)) == ("chat", "OK")
    assert trace.info.response_preview == '"YOU?"'
    for span in [*spans(trace, "ask"), *spans(trace, "below")]:
        of = client.get_run(str(span.get_attribute("flowml.run_id"))).data.tags
        assert of["flowml.span_id"] == span.span_id
        key = "prefect.task_run_id" if span.span_type == "TASK" else "prefect.flow_run_id"
        assert span.get_attribute(key) == of[key]


def test_without_the_option_all_is_as_it_was(client: MlflowClient) -> None:
    """What MLflow traces in a task is a trace of the task's run, and no run has a word of traces."""

    @task
    def ask(question: str) -> str:
        return asked(question)

    @flow
    def chat() -> None:
        ask("you?")

    chat()
    trace = the_trace(client)
    assert drawn(trace) == "asked"
    assert trace.info.trace_metadata["mlflow.sourceRun"] == run_of(client, "ask").info.run_id
    assert not [tag for run in all_runs(client) for tag in run.data.tags if "trace" in tag or "span" in tag]


def test_each_attempt_is_a_span(client: MlflowClient) -> None:
    """The failed attempt has its error, without the secret in it; the next one is another span."""
    tries = []

    @task(retries=1)
    def unsure() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("password=hunter2 is wrong")
        return 1

    @flow(track=TRACED)
    def chat() -> None:
        unsure()

    chat()
    trace = the_trace(client)
    first, second = spans(trace, "unsure")
    assert (first.status.status_code.value, second.status.status_code.value) == ("ERROR", "OK")
    (event,) = first.events
    assert (event.name, event.attributes["exception.type"]) == ("exception", "ValueError")
    assert "test_spans.py" in event.attributes["exception.stacktrace"]
    assert "hunter2" not in str(trace.to_json())
    assert [span.get_attribute("flowml.attempt") for span in (first, second)] == [1, 2]
    runs = [run.info.run_id for run in runs_of(client, "unsure")]
    assert [span.get_attribute("flowml.run_id") for span in (first, second)] == runs


def test_a_flows_attempts_are_one_span(client: MlflowClient) -> None:
    """A flow that is tried again goes on in its run, its trace and its span, which has the first one's error."""
    tries = []

    @task
    def step() -> None:
        pass

    @flow(track=TRACED, retries=1)
    def chat() -> None:
        step()
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("once")

    chat()
    trace = the_trace(client)
    (root,) = spans(trace, "chat")
    assert drawn(trace).split() == ["chat", "step", "step"]
    assert root.status.status_code.value == "OK"
    assert [event.attributes["exception.message"] for event in root.events] == ["once"]


def test_a_cached_result_is_a_span(client: MlflowClient) -> None:
    """A task whose body is not called, for its result is kept, has a span that says so."""

    @task(cache_policy=INPUTS, persist_result=True)
    def costly(text: str) -> str:
        return text

    new = uuid4().hex  # Prefect keeps results beyond a test

    @flow(track=TRACED)
    def chat() -> None:
        costly(new)
        costly(new)

    chat()
    first, second = spans(the_trace(client), "costly")
    assert first.get_attribute("flowml.cached") is None
    assert second.get_attribute("flowml.cached") is True
    assert second.get_attribute("prefect.state") == "Cached"


def _fails() -> None:
    raise ValueError("all wrong")


async def _is_cancelled() -> None:
    raise asyncio.CancelledError


def _stops() -> None:
    raise SystemExit(1)


def _gives_up() -> Any:
    return Cancelled()


@pytest.mark.parametrize(
    "body, state",
    [(_fails, "Failed"), (_gives_up, "Cancelled"), (_stops, "Crashed"), (_is_cancelled, "Crashed")],
)
def test_a_trace_ends_as_its_flow(client: MlflowClient, body: Any, state: str) -> None:
    """A flow that failed, was cancelled or crashed ends its trace with an error, and every span in it."""

    @task
    def step() -> None:
        pass

    if asyncio.iscoroutinefunction(body):

        @flow(track=TRACED, name="chat")
        async def chat() -> Any:
            step()
            return await body()

    else:

        @flow(track=TRACED, name="chat")
        def chat() -> Any:
            step()
            return body()

    with pytest.raises(BaseException):  # noqa: B017, PT011 - each its own
        asyncio.run(chat()) if asyncio.iscoroutinefunction(body) else chat()
    trace = the_trace(client)
    (root,) = spans(trace, "chat")
    assert str(trace.info.state) == "ERROR"
    assert (root.get_attribute("prefect.state"), root.status.status_code.value) == (state, "ERROR")
    assert all(span.end_time_ns for span in trace.data.spans)
    assert drawn(trace).split() == ["chat", "step"]


def test_values_are_shown_in_short_and_without_secrets(client: MlflowClient) -> None:
    """Plain values are as they are, large ones in short; secrets and what is not to be logged are not there."""

    @task
    def step(
        rows: Any, text: str, api_key: str, plain: dict[str, Any], hidden: Annotated[str, Skip()]
    ) -> dict[str, Any]:
        return {"n": 1, "token": "abcdef123456"}

    @flow(track=TRACED)
    def chat() -> None:
        step(np.zeros((100, 100)), "x" * 20_000, "abc", {"a": [1, None]}, "mine")

    chat()
    (span,) = spans(the_trace(client), "step")
    assert list(span.inputs) == ["rows", "text", "api_key", "plain"]
    assert span.inputs["rows"] == "<ndarray 100 × 100>"  # noqa: RUF001 - times
    assert len(span.inputs["text"]) == 10_000
    assert span.inputs["api_key"] == "********"
    assert span.inputs["plain"] == {"a": [1, None]}
    assert span.outputs == {"n": 1, "token": "********"}


def test_the_users_code_sees_the_span(client: MlflowClient) -> None:
    """MLflow's functions for the active span and trace are about the task's span and the flow's trace."""

    @task
    def step() -> str | None:
        span = mlflow.get_current_active_span()
        assert span is not None
        span.set_attribute("mine", 7)
        mlflow.update_current_trace(tags={"session": "a"}, metadata={"mlflow.trace.user": "ann"})
        return mlflow.get_active_trace_id()

    @flow(track=TRACED)
    def chat() -> str | None:
        return step()

    trace_id = chat()
    trace = the_trace(client)
    assert trace.info.trace_id == trace_id
    assert spans(trace, "step")[0].get_attribute("mine") == 7
    assert trace.info.tags["session"] == "a"
    assert trace.info.trace_metadata["mlflow.trace.user"] == "ann"
    assert mlflow.get_current_active_span() is None


def test_the_setting_and_who_is_left_out(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting traces flows that say nothing; a call that is left out has no span, what it calls is its caller's."""
    monkeypatch.setenv("FLOWML_TRACE", "true")

    @task(track=Track(trace=False))
    def step() -> None:
        asked("a")

    @flow
    def chat() -> None:
        step()

    @flow(track=Track(trace=False))
    def quiet() -> None:
        pass

    chat()
    quiet()
    assert drawn(the_trace(client)).split() == ["chat", "asked"]


@pytest.mark.slow
def test_a_share_of_the_flow_runs_is_traced(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a sampling rate some flow runs are traced, whole; the others are as without a trace."""
    monkeypatch.setenv("FLOWML_TRACE_SAMPLING_RATE", "0.5")

    @flow(track=TRACED, name="chat")
    def chat() -> None:
        asked("a")

    for _ in range(12):
        chat()
    found = all_traces(client)
    whole = [trace for trace in found if drawn(trace).split() == ["chat", "asked"]]
    alone = [trace for trace in found if drawn(trace) == "asked"]
    assert len(found) == len(whole) + len(alone) == 12
    assert whole
    assert alone


def test_the_flow_may_still_choose_its_experiment(client: MlflowClient) -> None:
    """The trace begins before the flow's run is opened: it goes where the flow's first lines say."""

    @task
    def step() -> None:
        asked("a")

    @flow(track=TRACED)
    def chat() -> None:
        mlflow.set_experiment("chosen late")
        step()

    chat()
    trace = the_trace(client)
    assert trace.info.experiment_id == client.get_experiment_by_name("chosen late").experiment_id
    assert drawn(trace).split() == ["chat", "step", "asked"]


def test_what_is_flushed_early_is_in_its_place(client: MlflowClient) -> None:
    """What MLflow sends before the flow's run would be opened goes to the flow's experiment all the same."""
    mlflow.set_experiment("of others")
    seen = []

    @flow(track=Track(trace=True, experiment="own"))
    def chat() -> None:
        asked("a")
        mlflow.flush_trace_async_logging()
        seen.extend(all_traces(client))

    chat()
    own = client.get_experiment_by_name("own").experiment_id
    assert [(trace.info.experiment_id, drawn(trace)) for trace in seen] == [(own, "asked")]
    assert drawn(the_trace(client)).split() == ["chat", "asked"]


def test_calls_without_runs_have_spans(client: MlflowClient) -> None:
    """Calls that are summed up, and those that log into their caller's run, have spans, too."""

    @task
    def small(number: int) -> int:
        return number

    @task(track=Track(run="parent"))
    def inside() -> None:
        pass

    @flow(track=Track(trace=True, children="none"))
    def chat() -> None:
        small.map([1, 2, 3]).result()
        inside()

    chat()
    assert sorted(drawn(the_trace(client)).split()) == ["chat", "inside", "small", "small", "small"]
    assert len(all_runs(client)) == 1


def test_generators_have_spans(client: MlflowClient) -> None:
    """What a generator traces is below its span, what its consumer traces in between is not."""

    @task
    def numbers() -> Any:
        for number in range(2):
            asked(f"inside {number}")
            yield number

    @flow(track=TRACED)
    def chat() -> None:
        for number in numbers():
            asked(f"outside {number}")

    chat()
    trace = the_trace(client)
    (span,) = spans(trace, "numbers")
    below = [each.inputs["question"] for each in spans(trace, "asked") if each.parent_id == span.span_id]
    assert below == ["inside 0", "inside 1"]
    assert len(spans(trace, "asked")) == 4
