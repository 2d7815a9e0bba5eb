"""Logged models are copied with what tells of them, wherever that meets, whenever it is told, and without their run."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelInput, Metric
from tests.ops.conftest import Said

Flowml = Callable[..., Said]

TOLD = "told"


@pytest.fixture
def run_id(source: MlflowClient) -> str:
    """A run that was tracked offline and goes on."""
    return str(source.create_run("1", 1_300, run_name=TOLD).info.run_id)


def a_model(client: MlflowClient, name: str, run_id: str | None) -> str:
    """Log a model without files; return its id."""
    model = client.create_logged_model("1", name, run_id)
    client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def points(client: MlflowClient) -> list[tuple[str, int, str]]:
    """Return the key, step and value of each point of the run's metrics."""
    (run,) = [one for one in client.search_runs(["1"]) if one.info.run_name == TOLD]
    found = [one for key in run.data.metrics for one in client.get_metric_history(run.info.run_id, key)]
    return sorted((one.key, one.step, repr(one.value)) for one in found)


def of_models(client: MlflowClient) -> dict[str, list[tuple[str, int, str]]]:
    """Return the same of what tells of each model, by its name."""
    found = client.search_logged_models(["1"])
    return {one.name: sorted((each.key, each.step, repr(each.value)) for each in one.metrics or []) for one in found}


def synced(flowml: Flowml, to: MlflowClient, *more: str) -> str:
    """Copy to a store; return what was said."""
    said = flowml("sync", "--to", to.tracking_uri, *more)
    assert said.code == 0, said.err
    return said.out


@pytest.mark.parametrize(
    "values",
    [(0.75, 0.8), (0.8, 0.8), (math.nan, 0.0), (0.0, math.nan), (math.inf, -math.inf), (math.nan, math.inf)],
    ids=str,
)
def test_models_that_are_told_of_at_one_moment(
    source: MlflowClient, to: MlflowClient, flowml: Flowml, run_id: str, values: Sequence[float]
) -> None:
    """Each has its own value, and the run has those and the one that tells of no model."""
    for number, value in enumerate(values):
        model_id = a_model(source, f"m{number}", run_id)
        source.log_batch(run_id, [Metric("auc", value, 2_000, 0, model_id=model_id)])
    source.log_batch(run_id, [Metric("auc", 0.5, 2_000, 0)])
    source.set_terminated(run_id)
    synced(flowml, to)
    assert points(to) == points(source)
    assert of_models(to) == of_models(source)


@pytest.mark.parametrize("is_over", [True, False], ids=["of a run that is over", "of one that goes on"])
def test_a_model_that_is_told_of_later(
    source: MlflowClient, to: MlflowClient, flowml: Flowml, run_id: str, *, is_over: bool
) -> None:
    """A point that was copied tells of a model after it was said to, and is no second point; also before it goes."""
    first, second = (a_model(source, name, run_id) for name in ("first", "second"))
    source.log_batch(run_id, [Metric("auc", 0.7, 2_000, 0, model_id=first), Metric("nan", math.nan, 2_000, 0)])
    if is_over:
        source.set_terminated(run_id)
    synced(flowml, to)
    told = Metric("auc", 0.7, 2_000, 0, model_id=second), Metric("nan", math.nan, 2_000, 0, model_id=second)
    source.log_batch(run_id, list(told))
    source.set_terminated(run_id)
    here = points(source), of_models(source)
    synced(flowml, to, "--prune")
    assert (points(to), of_models(to)) == here
    assert here[1]["second"] == [("auc", 0, "0.7"), ("nan", 0, "0.0")]  # MLflow's tables know no NaN of a model


def test_a_model_whose_copy_somebody_deleted(
    source: MlflowClient, team: MlflowClient, flowml: Flowml, run_id: str
) -> None:
    """It stays deleted, and holds up nothing of the run that tells of it."""
    model_id = a_model(source, "gone", run_id)
    source.log_batch(run_id, [Metric("auc", 0.7, 2_000, 0, model_id=model_id)])
    synced(flowml, team)
    (copy,) = [one for one in team.search_logged_models(["1"]) if one.name == "gone"]
    team.delete_logged_model(copy.model_id)
    source.log_batch(run_id, [Metric("auc", 0.8, 2_001, 1, model_id=model_id)])
    source.set_terminated(run_id)
    synced(flowml, team)
    assert points(team) == points(source)
    assert "gone" not in of_models(team)


def test_a_model_whose_run_is_deleted_here(source: MlflowClient, to: MlflowClient, flowml: Flowml, run_id: str) -> None:
    """It is copied without that run, with its version and alias, and whoever read it leads to it; no line is lost."""
    gone = source.create_run("1", 1_200, run_name="gone").info.run_id
    model_id = a_model(source, "of a deleted run", gone)
    source.log_inputs(run_id, None, [LoggedModelInput(model_id)])
    source.log_batch(run_id, [Metric("auc", 0.7, 2_000, 0, model_id=model_id)])
    location = source.get_logged_model(model_id).artifact_location
    source.create_registered_model("kept")
    source.create_model_version("kept", location, gone, model_id=model_id)
    source.set_registered_model_alias("kept", "champion", "1")
    for each in (gone, run_id):
        source.set_terminated(each)
    source.delete_run(gone)
    synced(flowml, to, "--prune")
    (copy,) = [one for one in to.search_logged_models(["1"]) if one.name == "of a deleted run"]
    assert (copy.source_run_id or None, of_models(to)["of a deleted run"]) == (None, [("auc", 0, "0.7")])
    version = to.get_model_version_by_alias("kept", "champion")
    assert (version.run_id, copy.model_id in version.source) == (gone, True)
    (reader,) = [one for one in to.search_runs(["1"]) if one.info.run_name == TOLD]
    assert [one.model_id for one in to.get_run(reader.info.run_id).inputs.model_inputs] == [copy.model_id]
    source.restore_run(gone)
    synced(flowml, to)
    assert "gone" in [one.info.run_name for one in to.search_runs(["1"])]
    assert [one.name for one in to.search_logged_models(["1"])].count("of a deleted run") == 1


def test_a_version_of_the_files_of_a_deleted_run(
    source: MlflowClient, team: MlflowClient, flowml: Flowml, run_id: str
) -> None:
    """Its files have no place there: it is said that it stays, each time, and it follows when its run is restored."""
    source.log_text(run_id, "weights", "model/weights.txt")
    source.create_registered_model("kept")
    source.create_model_version("kept", f"{source.get_run(run_id).info.artifact_uri}/model", run_id)
    source.set_terminated(run_id)
    source.delete_run(run_id)
    for _ in range(2):
        said = synced(flowml, team, "--prune")
        assert "Not taken there: kept version 1: what it was made from is deleted here." in said
        assert [one.version for one in source.search_model_versions("name = 'kept'")] == [1]
    source.restore_run(run_id)
    assert "Not taken there" not in synced(flowml, team)
    assert [one.version for one in team.search_model_versions("name = 'kept'")] == [1]


def test_what_is_deleted_here_can_be_restored(
    source: MlflowClient, team: MlflowClient, flowml: Flowml, run_id: str
) -> None:
    """A prune removes what is copied, and nothing that was deleted before it was."""
    other = source.create_experiment("other")
    inside = source.create_run(other, 1_200, run_name="inside").info.run_id
    source.log_text(run_id, "weights", "weights.txt")
    model_id = a_model(source, "deleted", None)
    source.delete_experiment(other)
    source.delete_run(run_id)
    source.delete_logged_model(model_id)
    assert "3 runs that are copied were removed here." in synced(flowml, team, "--prune")
    source.restore_experiment(other)
    source.restore_run(run_id)
    assert {one.info.run_id for one in source.search_runs(["1", other])} == {run_id, inside}
    assert [one.path for one in source.list_artifacts(run_id)] == ["weights.txt"]
    with closing(sqlite3.connect(source.tracking_uri.removeprefix("sqlite:///"))) as database:
        assert database.execute("SELECT model_id FROM logged_models").fetchall() == [(model_id,)]


def test_a_model_whose_runs_copy_somebody_deleted(
    source: MlflowClient, team: MlflowClient, flowml: Flowml, run_id: str
) -> None:
    """What is made of a run later is not copied without it: somebody did not want it there."""
    synced(flowml, team)
    (copy,) = [one for one in team.search_runs(["1"]) if one.info.run_name == TOLD]
    team.delete_run(copy.info.run_id)
    a_model(source, "later", run_id)
    source.set_terminated(run_id)
    assert "1 runs were deleted there, and stay here" in synced(flowml, team, "--prune")
    assert "later" not in of_models(team)
    assert "later" in of_models(source)


def test_a_version_of_a_model_that_has_no_run(source: MlflowClient, to: MlflowClient, flowml: Flowml) -> None:
    """It is copied as it is, and ends nothing."""
    model_id = a_model(source, "runless", None)
    source.create_registered_model("kept")
    with closing(sqlite3.connect(source.tracking_uri.removeprefix("sqlite:///"))) as database:
        location = source.get_logged_model(model_id).artifact_location
        source.create_model_version("kept", location, "0" * 32, model_id=model_id)
        database.execute("UPDATE model_versions SET run_id = NULL WHERE name = 'kept'")
        database.commit()
    synced(flowml, to)
    (copy,) = [one for one in to.search_logged_models(["1"]) if one.name == "runless"]
    (version,) = to.search_model_versions("name = 'kept'")
    assert (version.run_id or None, copy.model_id in version.source) == (None, True)
