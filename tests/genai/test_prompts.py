"""Versions of prompts as input: each run, trace and model says which it was, and decisions about them are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import PromptVersion
from sklearn.dummy import DummyClassifier
from tests.ends.processes import until
from tests.runs import flow_run, run_of, runs_of

import flowml
from flowml import Model, Promotion, Prompt, RegistryError, flow, task
from flowml.ops import promoting
from flowml.ops.view import history

PROMPT = "mlflow.linkedPrompts"
TEXT = "Summarize {{text}}"


@pytest.fixture
def summarize(client: MlflowClient) -> Iterator[str]:
    """Register three versions of a prompt, the second in production; return its name."""
    for number in range(3):
        client.register_prompt("summarize", f"{TEXT} in {number + 1} words")
    client.set_prompt_alias("summarize", "production", 2)
    return "summarize"


@task
def answering(text: str, prompt: Annotated[PromptVersion | None, Prompt.ref("summarize@production")] = None) -> str:
    """Answer by a prompt."""
    with mlflow.start_span("ask"):
        return prompt.format(text=text)


@flow
def answers(prompt: Any = None) -> str:
    """Answer in a flow."""
    return answering("a book", prompt)


def linked(run: Run) -> list[dict[str, str]]:
    """Return the prompts that MLflow shows on a run."""
    found: list[dict[str, str]] = json.loads(run.data.tags.get(PROMPT, "[]"))
    return found


def test_a_task_says_which_version_it_read(client: MlflowClient, summarize: str) -> None:
    """The argument is filled in; the run has the version, how it was asked for, and MLflow's link; so has its trace."""
    assert answers() == "Summarize a book in 2 words"
    run = run_of(client, "answering")
    assert run.data.params["prompt"] == "prompts:/summarize/2"
    assert run.data.tags["flowml.prompt.summarize/2"] == "prompts:/summarize@production"
    assert linked(run) == [{"name": "summarize", "version": "2"}]
    mlflow.flush_trace_async_logging()

    def linked_to_trace() -> str | None:  # a thread of MLflow's own writes it, which nothing waits for
        (trace,) = client.search_traces(locations=[run.info.experiment_id])
        return trace.info.tags.get(PROMPT)

    assert json.loads(until(linked_to_trace, "the prompt is linked", 60)) == [{"name": "summarize", "version": "2"}]


@pytest.mark.slow
def test_the_caller_chooses_another_version(client: MlflowClient, summarize: str) -> None:
    """Text names a version, with or without the scheme; a version that was loaded is taken as it is."""
    assert answers("summarize/3") == "Summarize a book in 3 words"
    assert answers("prompts:/summarize/1") == "Summarize a book in 1 words"
    assert answers(client.get_prompt_version("summarize", 1)) == "Summarize a book in 1 words"
    assert answers(flowml.load_prompt("summarize@production")) == "Summarize a book in 2 words"


def test_a_promotion_is_seen_at_once(client: MlflowClient, summarize: str) -> None:
    """An alias is looked up at each call, though MLflow's own loading keeps it for a minute."""
    assert answers() == "Summarize a book in 2 words"
    client.set_prompt_alias("summarize", "production", 3)
    assert answers() == "Summarize a book in 3 words"


def test_a_model_made_of_a_prompt_is_linked_with_it(client: MlflowClient, summarize: str) -> None:
    """A model that the task returns has the prompt, and so has the run that read it in its body."""

    @task
    def fitting() -> Annotated[DummyClassifier, Model("clf")]:
        flowml.load_prompt("summarize/1")
        return DummyClassifier(strategy="constant", constant=1).fit([[0], [1]], [0, 1])

    @flow
    def fits() -> None:
        fitting()

    fits()
    run = run_of(client, "fitting")
    assert linked(run) == [{"name": "summarize", "version": "1"}]
    (made,) = client.get_run(run.info.run_id).outputs.model_outputs
    model = client.get_logged_model(made.model_id)
    assert json.loads(model.tags[PROMPT]) == [{"name": "summarize", "version": "1"}]


@pytest.mark.parametrize(
    "reference, said",
    [
        ("summarise@production", "There is no prompt 'summarise'. Did you mean 'summarize'?"),
        ("summarize@prod", "summarize has no alias 'prod'."),
        ("summarize/9", "summarize has no version 9. Its last versions: 3, 2, 1."),
        ("summarize", "names no version of a prompt: it is a prompt's name without an alias or a version."),
        ("models:/summarize/1", "names no version of a prompt"),
    ],
)
def test_what_is_not_there(client: MlflowClient, summarize: str, reference: str, said: str) -> None:
    """A prompt, alias or version that does not exist is an error that says the nearest."""
    with pytest.raises(RegistryError, match=said.replace(".", r"\.").replace("?", r"\?")):
        flowml.load_prompt(reference)
    if "names no" not in said:
        assert flowml.load_prompt(reference, default="none") == "none"


def test_an_optional_prompt_stays_none(client: MlflowClient) -> None:
    """The first run, before there is a prompt, gets None; another marker is an error before the body runs."""

    @task
    def first(prompt: Annotated[Any, Prompt.ref("nothing@production", optional=True)] = None) -> bool:
        return prompt is None

    @task
    def needed(prompt: Annotated[Any, Prompt.ref("nothing@production")] = None) -> bool:
        return prompt is None

    @flow
    def tries() -> tuple[bool, Any]:
        return first(), needed(return_state=True)

    is_none, state = tries()
    assert is_none
    with pytest.raises(RegistryError, match="There is no prompt 'nothing'"):
        state.result()


def test_promotion_history_and_rollback(
    client: MlflowClient, summarize: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A prompt's alias moves as a model's does: who and why are kept, moves by hand are found, it can go back."""

    @flow
    def releasing() -> None:
        flowml.promote("prompts:/summarize/3", to="production", why="shorter", who="ada")

    @flow
    def going_back() -> tuple[Promotion, Promotion]:
        back = flowml.rollback("prompts:/summarize", alias="production")
        return back, flowml.promote(client.get_prompt_version("summarize", 3), to="production")

    releasing()
    assert client.get_prompt_version_by_alias("summarize", "production").version == 3
    client.set_prompt_alias("summarize", "production", 1)
    done, again = going_back()
    assert (done.version, done.before) == ("3", "1")
    assert again.number is None
    promoting.promote("prompts:/summarize", promoting.wish("production", who="bob", why="", version="2"), expect="3")
    capsys.readouterr()
    history.show("prompts:/summarize", alias=None, at=None, as_json=True)
    moves = json.loads(capsys.readouterr().out)
    assert [(move["version"], move["how"]) for move in moves] == [
        ("2", "outside"),
        ("3", "promote"),
        ("1", "outside"),
        ("3", "rollback"),
        ("2", "promote"),
    ]
    assert moves[1]["who"] == "ada"
    assert runs_of(client, "promote")[0].data.tags["flowml.model_version"] == "prompts:/summarize/3"


def test_a_protected_alias_needs_what_is_asked(client: MlflowClient, summarize: str, project: Any) -> None:
    """An alias of a prompt can be protected; without its gate nothing is moved."""
    (project / "pyproject.toml").write_text(
        '[tool.flowml.registry."prompts:/summarize".production]\ngate = true\n', "utf-8"
    )

    @flow
    def releasing() -> None:
        flowml.promote("prompts:/summarize", 3, to="production")

    with pytest.raises(RegistryError, match=r"prompts:/summarize@production is protected .* lacks a gate"):
        releasing()
    assert client.get_prompt_version_by_alias("summarize", "production").version == 2


def test_a_person_is_asked_about_a_prompt(client: MlflowClient, summarize: str) -> None:
    """An approval of a prompt's version is one like a model's; the end of the time is a decision too."""

    @flow
    def asking() -> flowml.Approval:
        return flowml.approve("prompts:/summarize/3", timeout=1)

    assert asking().outcome == "timed out"
    assert run_of(client, "approve").data.tags["flowml.model_version"] == "prompts:/summarize/3"


def test_a_flow_without_prompts_reads_nothing_of_them(client: MlflowClient) -> None:
    """A run that has read no prompt has no link."""

    @flow
    def plain() -> None:
        """Do nothing."""

    plain()
    assert PROMPT not in flow_run(client).data.tags
