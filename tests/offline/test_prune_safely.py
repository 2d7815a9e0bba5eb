"""What is removed here is there, and what is there stays one thing, whatever it is called now."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.cli import gc
from tests.offline.small import EXPERIMENT
from tests.offline.test_copying import counted
from tests.offline.test_later import named, synced
from tests.ops.conftest import Said

Flowml = Callable[..., Said]

ALL = {"runs": 3, "models": 1, "versions": 1, "traces": 1}
NOTHING = dict.fromkeys(ALL, 0)


def statuses(client: MlflowClient, experiment: str) -> dict[str, str]:
    """Return how the runs of an experiment ended, by name."""
    number = client.get_experiment_by_name(experiment).experiment_id
    return {run.info.run_name: run.info.status for run in client.search_runs([number])}


def empty(store: MlflowClient, nothing: Path) -> None:
    """Put an empty database where a store was, at the same address."""
    database = store.tracking_uri.removeprefix("sqlite:///")
    with closing(sqlite3.connect(nothing)) as new, closing(sqlite3.connect(database)) as old:
        new.backup(old)


def lose(store: MlflowClient, run_id: str) -> None:
    """Take a run out of a store for good."""
    store.delete_run(run_id)
    uri = store.tracking_uri
    gc.main(["--backend-store-uri", uri, "--tracking-uri", uri, "--run-ids", run_id], standalone_mode=False)


@pytest.mark.parametrize("prunes", [True, False])
def test_a_store_that_was_emptied_gets_all_again(
    source: MlflowClient, team: MlflowClient, flowml: Flowml, flowml_empty_store: Path, *, prunes: bool
) -> None:
    """What was noted of a store that is not the same any more is worth nothing: all is copied, and then removed."""
    synced(flowml, team)
    empty(team, flowml_empty_store)
    said = synced(flowml, team, *(["--prune"] if prunes else []))
    assert said.startswith("3 runs, ")
    assert counted(team) == ALL
    assert team.get_prompt_version_by_alias("hello", "best").version == 1
    assert counted(source) == (NOTHING if prunes else ALL)


def test_a_store_that_lost_some_gets_these_again(source: MlflowClient, team: MlflowClient, flowml: Flowml) -> None:
    """Of a run that is not there at all, as in a store from an older backup, a prune makes another copy first."""
    synced(flowml, team)
    lost = named(team, "second").info.run_id
    (model,) = team.search_logged_models([named(team, "second").info.experiment_id])
    team.delete_registered_model("churn")
    team.delete_logged_model(model.model_id)
    lose(team, lost)
    assert synced(flowml, team, "--prune").startswith("1 runs, ")
    assert counted(team) == ALL
    assert counted(source) == NOTHING


@pytest.mark.parametrize("what", ["run", "logged model", "version"])
def test_what_somebody_deleted_there_stays_here(
    what: str, source: MlflowClient, to: MlflowClient, flowml: Flowml
) -> None:
    """It is the last one of it; it is named, with the whole flow, and is not copied again."""
    synced(flowml, to)
    run = named(to, "second")
    if what == "run":
        to.delete_run(run.info.run_id)
    elif what == "logged model":
        (model,) = to.search_logged_models([run.info.experiment_id])
        to.delete_logged_model(model.model_id)
    else:
        to.delete_registered_model("churn")
    there = counted(to)
    said = synced(flowml, to, "--prune")
    assert "1 copies are not there any more, and what they were made from stays here: " in said
    assert "removed here" not in said
    assert counted(source) == ALL
    assert counted(to) == there


def test_a_trace_that_somebody_deleted_there_stays_here(source: MlflowClient, to: MlflowClient, flowml: Flowml) -> None:
    """The runs go, and the trace stays."""
    synced(flowml, to)
    number = named(to, "second").info.experiment_id
    (trace,) = to.search_traces(locations=[number])
    to.delete_traces(number, trace_ids=[trace.info.trace_id])
    assert f"stays here: trace {trace.info.trace_id}" in synced(flowml, to, "--prune")
    assert counted(source) == {**NOTHING, "traces": 1}


@pytest.mark.parametrize("side", ["here", "there"])
def test_an_experiment_that_is_renamed_stays_one(
    side: str, source: MlflowClient, team: MlflowClient, flowml: Flowml
) -> None:
    """A run that was open is completed where it is, its family stays together, and a later run goes there too."""
    (number,) = [one.experiment_id for one in source.search_experiments() if one.name == EXPERIMENT]
    going = source.create_run(number, 9_000, run_name="going").info.run_id
    synced(flowml, team)
    renamed = source if side == "here" else team
    renamed.rename_experiment(renamed.get_experiment_by_name(EXPERIMENT).experiment_id, "renamed")
    source.create_run(number, 9_500, {"mlflow.parentRunId": going}, "later")
    for name in ("going", "later", "second"):
        source.set_terminated(named(source, name).info.run_id, "FAILED")
    synced(flowml, team)
    there = EXPERIMENT if side == "here" else "renamed"
    ended = dict.fromkeys(("going", "later", "second"), "FAILED")
    assert statuses(team, there) == {"root": "FINISHED", "first": "FAILED", **ended}
    assert team.get_experiment_by_name("renamed" if side == "here" else EXPERIMENT) is None


def test_an_experiment_that_was_renamed_and_deleted_there_is_named(
    source: MlflowClient, team: MlflowClient, flowml: Flowml
) -> None:
    """It is not made anew under its first name; how to restore it is said."""
    synced(flowml, team)
    number = team.get_experiment_by_name(EXPERIMENT).experiment_id
    team.rename_experiment(number, "renamed")
    team.delete_experiment(number)
    said = flowml("sync", "--to", team.tracking_uri)
    assert said.code == 2
    assert f"mlflow experiments restore --experiment-id {number}" in said.err


@pytest.mark.parametrize("of", ["run", "logged model"])
def test_files_whose_names_a_url_takes_apart(of: str, source: MlflowClient, to: MlflowClient, flowml: Flowml) -> None:
    """A server, which cannot have them, gets none of them for another's; they are named, and all stays here."""
    odd, plain = ["part#1", "part#2", "folder?/%41"], "part"
    run = named(source, "second")
    (model,) = source.search_logged_models([run.info.experiment_id])
    place = run.info.artifact_uri if of == "run" else model.artifact_location
    for name in (*odd, plain):
        file = Path(place.removeprefix("file://"), name)
        file.parent.mkdir(exist_ok=True)
        file.write_text(name)
    said = synced(flowml, to, "--prune")
    copy = named(to, "second")
    (made,) = to.search_logged_models([copy.info.experiment_id])
    listed = to.list_artifacts(copy.info.run_id) if of == "run" else to.list_logged_model_artifacts(made.model_id)
    there = {one.path: one.file_size for one in listed}
    assert there["part"] == len("part")
    assert copy.info.status == "FINISHED"
    if to.tracking_uri.startswith("http"):
        assert "Not taken there: " in said
        assert all(repr(name) in said for name in odd)
        assert there.keys().isdisjoint(odd)
        assert counted(source) == ALL
    else:
        assert {"part#1", "part#2", "folder?"} < there.keys()
        assert counted(source) == NOTHING
