"""Tokens and cost, from the spans of what a task asks of a language model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import mlflow
import openai
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.task_runners import ProcessPoolTaskRunner
from tests.genai.llm_server import Answer, LlmServer
from tests.runs import flow_run, run_of, runs_of

from flowml import Track, flow, task
from flowml.ops.view.listing import listing

PRICES = """
[tool.flowml.prices]
small = { input = 2.5, output = 10, cached = 1.25 }
"big-*" = { input = 0.1, output = 0.3 }
"""
COUNTS = ("tokens_input", "tokens_output", "tokens_cached")


def said(client: openai.OpenAI, model: str = "small", **more: Any) -> Any:
    """Ask a model."""
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Well?"}], **more)


def tokens(run: Run) -> tuple[float, ...]:
    """Return the tokens on a run: input, output, cached."""
    return tuple(run.data.metrics[key] for key in COUNTS)


def used(run: Run) -> dict[str, dict[str, Any]]:
    """Return what a run says it used, by model."""
    found: dict[str, dict[str, Any]] = json.loads(run.data.tags["flowml.usage"])
    return found


@pytest.fixture
def priced(project: Path) -> Iterator[None]:
    """A project with prices."""
    (project / "pyproject.toml").write_text(PRICES)
    return


def test_a_task_and_its_flow_have_tokens_and_cost_by_model(
    client: MlflowClient, priced: None, llm: LlmServer, ask: openai.OpenAI
) -> None:
    """Input, output and cached tokens are counted apart, and priced exactly by the user's prices."""
    llm.plan += [Answer("a b c", input=1000, cached=200), Answer("d", input=7), Answer("e f", input=3)]

    @task
    def twice() -> None:
        said(ask)
        said(ask)

    @task
    def once() -> None:
        said(ask, "big-one")

    @flow
    def asking() -> None:
        twice()
        once()

    asking()
    assert tokens(run_of(client, "twice")) == (1007, 4, 200)
    top = flow_run(client)
    assert tokens(top) == (1010, 6, 200)
    assert used(top) == {
        "small": {"calls": 2, "input": 1007, "output": 4, "cached": 200, "cost": "0.0023075"},
        "big-one": {"calls": 1, "input": 3, "output": 2, "cost": "0.0000009"},
    }
    assert top.data.metrics["cost_usd"] == float(Decimal("0.0023084"))
    assert "1,010 tokens in" in top.data.tags["mlflow.note.content"]


def test_each_attempt_counts_what_it_was_answered(
    client: MlflowClient, priced: None, llm: LlmServer, ask: openai.OpenAI
) -> None:
    """Of three attempts, two fail after an answer or without one: each has its trace, each answer counts once."""
    llm.plan += [Answer("a", input=5), Answer(status=500), Answer(status=429, retry_after="0"), Answer("b c", input=6)]

    @task(retries=2)
    def trying() -> None:
        said(ask)
        said(ask)

    @flow
    def retried() -> None:
        trying()

    llm.plan.append(Answer("d e f", input=7))
    retried()
    attempts = runs_of(client, "trying")
    assert "flowml.usage" not in attempts[1].data.tags
    assert [tokens(run) for run in (attempts[0], attempts[2])] == [(5, 1, 0), (13, 5, 0)]
    assert tokens(flow_run(client)) == (18, 6, 0)
    mlflow.flush_trace_async_logging()
    traces = client.search_traces(locations=[attempts[0].info.experiment_id])
    by_run = [trace.info.request_metadata["mlflow.sourceRun"] for trace in traces]
    assert [by_run.count(run.info.run_id) for run in attempts] == [2, 1, 2]


def test_a_span_that_sums_up_those_below_it_adds_nothing(client: MlflowClient, priced: None) -> None:
    """An agent's span repeats what its model's calls used; only what is beyond that counts."""

    @task
    def agent() -> None:
        with mlflow.start_span("agent") as above:
            for _ in range(2):
                with mlflow.start_span("step"), mlflow.start_span("llm", span_type="LLM") as span:
                    use(span, 10, 5)
            use(above, 20, 11)

    @flow
    def of_agents() -> None:
        agent()

    of_agents()
    assert tokens(flow_run(client)) == (20, 11, 0)
    assert sum(each["calls"] for each in used(flow_run(client)).values()) == 3  # the last token is one more


def use(span: Any, given: int, answered: int, model: str = "small") -> None:
    """Say what a span used, as MLflow's integrations do."""
    usage = {"input_tokens": given, "output_tokens": answered, "total_tokens": given + answered}
    span.set_attributes({"mlflow.chat.tokenUsage": usage, "mlflow.llm.model": model})


def test_a_span_above_tasks_adds_only_what_they_have_not_said(client: MlflowClient, priced: None) -> None:
    """A span of the flow's body that sums up what its tasks used leaves them their tokens."""

    @task
    def asking() -> None:
        with mlflow.start_span("llm") as span:
            use(span, 10, 5)

    @flow
    def summing() -> None:
        with mlflow.start_span("all") as span:
            asking()
            use(span, 12, 5)

    summing()
    assert tokens(run_of(client, "asking")) == (10, 5, 0)
    assert tokens(flow_run(client)) == (12, 5, 0)


def test_an_unknown_price_is_unknown(client: MlflowClient, priced: None, ask: openai.OpenAI) -> None:
    """A model without a price leaves the cost open, and the run says which one it is; the tokens are known."""

    @flow
    def unpriced() -> None:
        said(ask)
        said(ask, "nobody-knows-it")

    unpriced()
    run = flow_run(client)
    assert "cost_usd" not in run.data.metrics
    assert tokens(run) == (20, 2, 0)
    assert used(run)["nobody-knows-it"]["cost"] is None
    assert used(run)["small"]["cost"] == "0.000035"
    assert "no price for nobody-knows-it" in run.data.tags["mlflow.note.content"].replace("&#45;", "-")


def test_prices_come_from_a_file_too(client: MlflowClient, project: Path, ask: openai.OpenAI) -> None:
    """A file of prices is read; what the settings say comes first."""
    (project / "pyproject.toml").write_text(f"[tool.flowml]\nprices_file = 'prices.json'\n{PRICES}")
    (project / "prices.json").write_text('{"small": {"input": 9, "output": 9}, "mine": {"input": 1, "output": 2}}')

    @flow
    def priced_by_file() -> None:
        said(ask)
        said(ask, "mine")

    priced_by_file()
    assert {name: each["cost"] for name, each in used(flow_run(client)).items()} == {
        "small": "0.000035",
        "mine": "0.000012",
    }


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, "{", '{"small": {"input": -1, "output": 1}}', '{"small": 3}'])
def test_a_file_of_prices_that_cannot_be_read(
    client: MlflowClient,
    project: Path,
    ask: openai.OpenAI,
    content: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The flow goes on, one warning says what is wrong with the file, and no cost is made up."""
    (project / "pyproject.toml").write_text("[tool.flowml]\nprices_file = 'prices.json'\n")
    if content is not None:
        (project / "prices.json").write_text(content)

    @flow
    def unpriced() -> str:
        return str(said(ask).choices[0].message.content)

    assert unpriced() == "yes"
    (warning,) = {record.getMessage() for record in caplog.records if "prices.json" in record.getMessage()}
    assert "cannot be read" in warning
    run = flow_run(client)
    assert "cost_usd" not in run.data.metrics
    assert tokens(run) == (10, 1, 0)


def test_mlflows_own_list_has_the_prices_that_nobody_set(client: MlflowClient, ask: openai.OpenAI) -> None:
    """A model of MLflow's list is priced by it, without a setting."""

    @flow
    def listed() -> None:
        said(ask, "gpt-4o-mini")

    listed()
    assert flow_run(client).data.metrics["cost_usd"] == float(10 * Decimal("1.5e-07") + Decimal("6e-07"))


def test_streams_count_when_they_are_read(
    client: MlflowClient, priced: None, llm: LlmServer, ask: openai.OpenAI
) -> None:
    """A streamed answer has its tokens on the task that reads it."""
    llm.plan.append(Answer("one two three", input=4))

    @task
    def streaming() -> str:
        chunks = said(ask, stream=True, stream_options={"include_usage": True})
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    @flow
    def streams() -> str:
        return streaming()

    assert streams() == "one two three"
    assert tokens(run_of(client, "streaming")) == (4, 3, 0)


def test_malformed_answers_fail_the_task_and_count_nothing(
    client: MlflowClient, priced: None, llm: LlmServer, ask: openai.OpenAI
) -> None:
    """An answer that is no JSON is the client's error; an answer without tokens is one without tokens."""
    llm.plan += [Answer(body=b"{not json"), Answer("fine", usage=False)]

    @task(retries=1)
    def reading() -> str:
        return str(said(ask).choices[0].message.content)

    @flow
    def malformed() -> str:
        return reading()

    assert malformed() == "fine"
    assert [run.info.status for run in runs_of(client, "reading")] == ["FAILED", "FINISHED"]
    assert "tokens_input" not in flow_run(client).data.metrics


def test_threads_count_too(client: MlflowClient, priced: None, ask: openai.OpenAI) -> None:
    """What a task asks in threads of its own, which have no context, is the task's."""

    @task
    def in_threads() -> None:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: said(ask), range(5)))

    @flow
    def threaded() -> None:
        in_threads()

    threaded()
    assert tokens(run_of(client, "in_threads")) == (50, 5, 0)


def test_calls_without_runs_count_on_the_run_above(client: MlflowClient, priced: None, ask: openai.OpenAI) -> None:
    """Children that are summed up, and tasks that log to their caller's run, give it their tokens."""

    @task
    def small_one(number: int) -> None:
        said(ask)

    @task(track=Track(run="parent"))
    def in_parents() -> None:
        said(ask)

    @flow(track=Track(children="none"))
    def many() -> None:
        for number in range(3):
            small_one(number)
        in_parents()

    many()
    assert tokens(flow_run(client)) == (40, 4, 0)


def test_tasks_in_tasks_and_flows_in_flows_count_once(client: MlflowClient, priced: None, ask: openai.OpenAI) -> None:
    """Whatever the nesting, each run has what was used in it and below it, and the top has all of it."""

    @task
    def inner() -> None:
        said(ask)

    @task
    def outer() -> None:
        said(ask)
        inner()

    @flow
    def below() -> None:
        outer()

    @task
    def calling() -> None:
        below()

    @flow
    def top() -> None:
        below()
        calling()

    top()
    assert [tokens(run) for run in runs_of(client, "outer")] == [(20, 2, 0)] * 2
    assert tokens(run_of(client, "calling")) == (20, 2, 0)
    assert tokens(flow_run(client)) == (40, 4, 0)


def test_flowml_runs_shows_tokens_and_cost(
    client: MlflowClient, priced: None, ask: openai.OpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    """A list of runs has both where a model was asked; what is unknown is said so, and JSON has the exact sums."""

    @flow
    def asking(models: list[str]) -> None:
        for model in models:
            said(ask, model)

    asking([])
    listing(None, last=5, subflows=False, as_json=False)
    assert "$" not in capsys.readouterr().out
    asking(["small"])
    asking(["small", "nobody-knows-it"])
    listing(None, last=5, subflows=False, as_json=False)
    newest, before, oldest = capsys.readouterr().out.splitlines()[-3:]
    assert "20 → 2" in newest
    assert "$3.5e-05 + unknown" in newest
    assert "$3.5e-05" in before
    assert "unknown" not in before
    assert "→" not in oldest
    listing(None, last=5, subflows=False, as_json=True)
    told = json.loads(capsys.readouterr().out)[0]["usage"]
    assert told["small"] == {"calls": 1, "input": 10, "output": 1, "cost": "0.000035"}
    assert told["nobody-knows-it"]["cost"] is None


@task
def elsewhere(number: int) -> None:
    """Say what it used, in another process."""
    with mlflow.start_span("llm") as span:
        use(span, 10 * number, 1)


@pytest.mark.slow
def test_worker_processes_count_too(client: MlflowClient, priced: None) -> None:
    """Tasks in a pool of processes have their tokens, and the flow their sum."""

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def pooled() -> None:
        for future in elsewhere.map([1, 2, 3]):
            future.result()

    pooled()
    assert tokens(flow_run(client)) == (60, 3, 0)
