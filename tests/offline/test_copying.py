"""Copying one store into another: the same values, each thing once, wherever it is interrupted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from tests.offline.snapshot import snapshot

from flowml import formats
from flowml.store import tracing
from flowml.store.copying.copy_store import copy
from flowml.store.copying.ends import Copied, Ends
from flowml.store.ledger import Decision, this_user
from flowml.store.ledger.moving import Aliases

READS = ("get_", "search_", "list_")
ALIASES = {"set_registered_model_alias", "set_prompt_alias"}
STEPS = 110  # more than a copy of the small store takes; `test_steps_are_enough` looks


class Interrupted:
    """A client whose n-th call fails: before it is made, or after it was, its answer being lost."""

    def __init__(self, client: Any, calls: list[str], fails_at: int, *, answer_is_lost: bool) -> None:
        self._client, self._calls = client, calls
        self._fails_at, self._answer_is_lost = fails_at, answer_is_lost

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._calls.append(name)
            fails = len(self._calls) == self._fails_at
            if fails and not self._answer_is_lost:
                raise ConnectionError(name)
            answer = found(*args, **kwargs)
            if fails:
                raise ConnectionError(name)
            return answer

        return call


def everything(ends: Ends) -> Copied:
    """Copy all experiments."""
    return copy(ends, ends.source.search_experiments())


def interrupted(ends: Ends, fails_at: int, *, answer_is_lost: bool = False) -> list[str]:
    """Copy until a call fails; gives the calls that were made to the store that is written."""
    calls: list[str] = []
    target, traces = (
        Interrupted(each, calls, fails_at, answer_is_lost=answer_is_lost) for each in (ends.target, ends.traces)
    )
    with suppress(ConnectionError):
        everything(dataclasses.replace(ends, target=target, traces=traces))
    return calls


def assert_equal(ends: Ends, scratch: Path) -> None:
    """Compare the two stores, value by value; a thing that is there twice has an id of its own, and is seen."""
    source, target = snapshot(ends.source, scratch / "a"), snapshot(ends.target, scratch / "b")
    assert target == source
    assert counted(ends.target) == counted(ends.source)


def counted(client: MlflowClient) -> dict[str, int]:
    """Count what is in a store; dictionaries of old ids would hide what is there twice."""
    ids = [one.experiment_id for one in client.search_experiments()]
    found = client.search_runs(ids, max_results=5000)
    return {
        "runs": sum(run.data.tags.get("flowml.kind") != "ledger" for run in found),  # each store has its own
        "models": len(client.search_logged_models(ids)),
        "versions": len(client.search_model_versions()),
        "traces": len(client.search_traces(locations=ids)),
    }


def test_a_copy_has_all_that_was_there(ends: Callable[[], Ends], tmp_path: Path) -> None:
    """Runs, histories with NaN, datasets, files, models, versions, aliases and traces are the same, under new ids."""
    made = ends()
    done = everything(made)
    assert (done.runs, done.models, done.versions, done.traces, done.points) == (3, 1, 1, 1, 1_055)
    assert_equal(made, tmp_path)
    here, there = (set(snapshot(one, tmp_path, own_ids=True)["runs"]) for one in (made.source, made.target))
    assert here.isdisjoint(there)


def test_links_lead_to_the_copies(ends: Callable[[], Ends]) -> None:
    """No text of a copy names an old id but the tags that say where it was copied from."""
    made = ends()
    everything(made)
    old = [run.info.run_id for run in made.source.search_runs(["1"])]
    old += [model.model_id for model in made.source.search_logged_models(["1"])]
    (experiment,) = (one.experiment_id for one in made.target.search_experiments() if one.name == "small")
    runs = made.target.search_runs([experiment])
    names = {run.info.run_name: run for run in runs}
    for run in runs:
        kept = {key: value for key, value in run.data.tags.items() if key != "flowml.copied_from"}
        assert not [one for one in old if one in repr(kept) + repr(run.inputs)]
    assert names["first"].data.tags["flowml.next_run_id"] == names["second"].info.run_id
    assert names["first"].data.tags["mlflow.parentRunId"] == names["root"].info.run_id
    note = names["root"].data.tags["mlflow.note.content"]
    assert f"#/experiments/{experiment}/runs/{names['second'].info.run_id}" in note


def test_a_span_leads_to_the_copied_run(ends: Callable[[], Ends]) -> None:
    """The run that a span of a traced flow names is the copy's, and so is the run of its trace."""
    made, trace_id = ends(), f"tr-{'a' * 32}"
    tags = {"flowml.kind": "flow", "prefect.flow_name": "chat", "flowml.trace_id": trace_id, "flowml.span_id": "b" * 16}
    run = made.source.create_run("1", 1_300, tags, "traced")
    tracing.end_left_open(made.source, run, "FINISHED", state="Completed", ended=1_400, why="")
    made.source.set_terminated(run.info.run_id, "FINISHED", 1_400)
    everything(made)
    (experiment,) = (one.experiment_id for one in made.target.search_experiments() if one.name == "small")
    (copied,) = (one for one in made.target.search_runs([experiment]) if one.info.run_name == "traced")
    trace = made.target.get_trace(trace_id, display=False)
    assert [span.get_attribute("flowml.run_id") for span in trace.data.spans] == [copied.info.run_id]
    assert trace.info.trace_metadata["mlflow.sourceRun"] == copied.info.run_id


def test_a_second_copy_asks_for_nothing_that_is_complete(ends: Callable[[], Ends], tmp_path: Path) -> None:
    """What is copied completely is known without the other store: it is asked for the experiment alone."""
    made = ends()
    everything(made)
    assert interrupted(made, 0) == ["get_experiment"]
    assert_equal(made, tmp_path)


def test_what_changes_later_follows(ends: Callable[[], Ends], tmp_path: Path) -> None:
    """A run that was running, and one that was changed after it was copied, are completed; nothing is doubled."""
    made = ends()
    running = made.source.create_run("1", 1_300, {"a": "1", "flowml.children.1": "x"}, "running").info.run_id
    made.source.log_batch(running, [Metric("m", step, step, step) for step in range(5)])
    made.source.log_text(running, "one", "one.txt")
    first = everything(made)
    assert (first.runs, first.running) == (3, 1)
    made.source.log_batch(running, [Metric("m", step, step, step) for step in range(5, 9)])
    made.source.log_text(running, "two", "two.txt")
    made.source.log_text(running, "other", "one.txt")
    made.source.delete_tag(running, "flowml.children.1")
    made.source.set_terminated(running, "KILLED", 9_000)
    (root,) = (run.info.run_id for run in made.source.search_runs(["1"]) if run.info.run_name == "root")
    made.source.set_tag(root, "flowml.superseded", "true")
    second = everything(made)
    assert (second.runs, second.points, second.before) == (2, 4, 2)
    assert_equal(made, tmp_path)
    made.source.update_run(running, status="RUNNING")  # a flow that is resumed goes on in its run
    assert everything(made).running == 1
    made.source.set_terminated(running, "FINISHED", 9_500)
    assert everything(made).runs == 1
    assert_equal(made, tmp_path)


def test_a_version_comes_after_those_that_are_there(ends: Callable[[], Ends]) -> None:
    """A registered model keeps its versions; the copy is the next one, is promoted as ever, and is named so."""
    made = ends()
    made.target.create_registered_model("churn", description="Theirs.")
    made.target.create_model_version("churn", "file:///elsewhere")
    made.target.set_registered_model_alias("churn", "champion", "1")
    everything(made)
    model = made.target.get_registered_model("churn")
    assert (model.description, model.tags["team"]) == ("Theirs.", "a")
    assert model.aliases == {"champion": 2, "previous": 1}
    (experiment,) = (one.experiment_id for one in made.target.search_experiments() if one.name == "small")
    (root,) = (run for run in made.target.search_runs([experiment]) if run.info.run_name == "root")
    assert root.data.tags["flowml.registered_models"] == '[["churn", "2", "champion"]]'
    assert "#/models/churn/versions/2" in root.data.tags["mlflow.note.content"]
    (logged,) = made.target.search_logged_models([experiment])
    assert logged.tags["mlflow.modelVersions"] == '[{"name": "churn", "version": 2}]'


def test_an_alias_that_was_moved_since_stays(ends: Callable[[], Ends], caplog: pytest.LogCaptureFixture) -> None:
    """A version that was champion offline, before somebody promoted another in the store, does not take its place."""
    made = ends()
    offline = Aliases(made.source, "churn").ledger
    decided = Decision(kind="move", version="1", alias="champion", who="ben", at=formats.now() - 3_600_000)
    offline.apply(offline.append(decided))
    made.target.create_registered_model("churn")
    made.target.create_model_version("churn", "file:///elsewhere")
    Aliases(made.target, "churn").move(Decision(kind="move", version="1", alias="champion", who="ada"))
    everything(made)
    assert Aliases(made.target, "churn").now()["champion"] == "1"
    assert "churn@champion stays at version 1" in caplog.text
    assert everything(made).versions == 0  # all is copied


def test_the_history_of_the_other_store_tells_of_copied_aliases(ends: Callable[[], Ends]) -> None:
    """A move by a copy is a decision there like any other; what was decided offline stays in the offline store."""
    made = ends()
    made.target.create_registered_model("churn")
    made.target.create_model_version("churn", "file:///elsewhere")
    Aliases(made.target, "churn").move(Decision(kind="move", version="1", alias="champion", who="ada"))
    Aliases(made.source, "churn").move(Decision(kind="move", version="1", alias="challenger", who="ben"))
    everything(made)
    moves = [one.decision for one in Aliases(made.target, "churn").settled("champion")]
    assert [(one.who, one.alias, one.was, one.version) for one in moves] == [
        ("ada", "champion", None, "1"),
        (this_user(), "challenger", None, "2"),
        (this_user(), "champion", "1", "2"),
    ]
    assert made.target.get_run(made.target.get_registered_model("churn").tags["flowml.ledger"])


def test_a_copy_that_somebody_deleted_is_not_made_again(ends: Callable[[], Ends]) -> None:
    """Who deletes a run there does not get it back; it is told, and stays here."""
    made = ends()
    everything(made)
    (experiment,) = (one.experiment_id for one in made.target.search_experiments() if one.name == "small")
    (copied,) = (run for run in made.target.search_runs([experiment]) if run.info.run_name == "first")
    made.target.delete_run(copied.info.run_id)
    old = copied.data.tags["flowml.copied_from"]
    made.source.set_tag(old, "changed", "since")
    assert everything(made).deleted == [old]
    assert counted(made.target)["runs"] == 2


def test_steps_are_enough(ends: Callable[[], Ends]) -> None:
    """The tests below interrupt a copy at each of its calls."""
    calls = interrupted(ends(), 0)
    assert 30 < len(calls) < STEPS


@pytest.mark.parametrize("fails", ["call", "answer"])
@pytest.mark.parametrize(
    "step", [pytest.param(step, marks=[] if step % 19 == 7 else [pytest.mark.slow]) for step in range(1, STEPS)]
)
def test_a_copy_that_is_interrupted_goes_on(step: int, fails: str, ends: Callable[[], Ends], tmp_path: Path) -> None:
    """Whichever call fails, before or after it had its effect, the next copy adds what is missing alone."""
    made = ends()
    calls = interrupted(made, step, answer_is_lost=fails == "answer")
    if set(calls[step - 1 : step]) & ALIASES:  # whether it moved is looked up, and is in the ledger
        noted = calls.index("log_param", step) + 1
        assert calls[step : noted - 1]
        assert bool(calls[noted:]) == (fails == "answer")
    else:
        assert calls[step:] == []
    everything(made)
    assert_equal(made, tmp_path)
