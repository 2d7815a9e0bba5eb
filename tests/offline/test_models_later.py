"""Which points of metrics tell of which logged model, wherever they meet, and whenever it is told."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
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
