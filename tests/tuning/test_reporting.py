"""Values on the way: steps of a metric, and trials that are given up."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tests.runs import run_of, runs_of

import flowml
from flowml import Choice, Float, Int, Study, task, tune


class GiveUp(optuna.pruners.BasePruner):
    """Gives up each trial whose last value is above 0.5."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:  # noqa: ARG002 - Optuna gives it
        """Tell."""
        return trial.intermediate_values[trial.last_step] > 0.5


def searched(fit: object) -> Study:
    """Try 0, which is good, and 1, which is not."""
    sampler = optuna.samplers.GridSampler({"x": [0, 1]})
    return tune(fit, x=Int(0, 1), minimize="loss", trials=9, sampler=sampler, pruner=GiveUp())


def by_state(client: MlflowClient) -> dict[str, Run]:
    """Return the two runs, by the name of their state in Prefect."""
    return {run.data.tags["prefect.state"]: run for run in runs_of(client, "fit")}


@task(name="fit")
def told(x: int) -> float:
    """Tell three values."""
    for step in range(3):
        flowml.report(step, x + step / 10)
    return float(x)


@task(name="fit")
def yielded(x: int) -> Iterator[dict[str, float]]:
    """Yield three mappings, with something more in each."""
    for step in range(3):
        yield {"loss": x + step / 10, "rate": step}


@task(name="fit")
async def yielded_async(x: int) -> AsyncIterator[float]:
    """Yield three values in an event loop."""
    for step in range(3):
        yield x + step / 10


@pytest.mark.parametrize("fit", [told, yielded, yielded_async], ids=["report", "generator", "async generator"])
def test_a_pruned_trial_is_not_a_failed_one(client: MlflowClient, fit: object):
    """What is told is a step of the metric; a trial that is given up is finished and completed, under its own name."""
    study = searched(fit)
    assert study.counts() == {"complete": 1, "pruned": 1}
    runs = by_state(client)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert runs["Pruned"].data.tags["flowml.pruned"] == "true"
    assert "flowml.pruned" not in runs["Completed"].data.tags
    assert "return" not in runs["Pruned"].data.params
    curve = client.get_metric_history(runs["Completed"].info.run_id, "loss")
    assert [(point.step, point.value) for point in curve][:3] == [(0, 0), (1, 0.1), (2, 0.2)]
    assert [point.value for point in client.get_metric_history(runs["Pruned"].info.run_id, "loss")] == [1]


def test_a_trial_that_raises_is_failed_and_the_search_goes_on(client: MlflowClient):
    """A failed trial is failed in the study, in Prefect and in MLflow; the others go on."""

    @task
    def fit(x: str) -> float:
        if x == "bad":
            raise ValueError("no such luck")
        return 1.0

    sampler = optuna.samplers.GridSampler({"x": ["bad", "good"]})
    study = tune(fit, x=Choice("bad", "good"), minimize="loss", trials=2, sampler=sampler)
    assert study.counts() == {"failed": 1, "complete": 1}
    runs = by_state(client)
    assert runs["Failed"].info.status == "FAILED"
    assert "no such luck" in study.table().set_index("state").error["failed"]


def test_nan_is_failed_and_said(client: MlflowClient, caplog: pytest.LogCaptureFixture):
    """A trial that returns NaN is failed in the study, and the log and the run say so."""

    @task
    def fit(x: int) -> float:
        return math.nan if x == 0 else x

    study = tune(fit, x=Int(0, 1), minimize="loss", sampler=optuna.samplers.GridSampler({"x": [0, 1]}))
    assert study.counts() == {"failed": 1, "complete": 1}
    assert "counts as failed: it returned NaN" in caplog.text
    (told,) = [tag for run in runs_of(client, "fit") if (tag := run.data.tags.get("flowml.trial_error"))]
    assert told.startswith("it returned NaN")


@pytest.mark.filterwarnings("ignore:Logger 'prefect.task_runs' attempted to send logs")  # Prefect's, outside flows
def test_outside_a_search_it_is_logged(client: MlflowClient):
    """A task that reports can be called by itself: its values are steps of a metric."""

    @task
    def fit() -> None:
        for step in range(3):
            flowml.report(step, step * 2, metric="loss")

    fit()
    points = client.get_metric_history(run_of(client, "fit").info.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(0, 0), (1, 2), (2, 4)]


def test_a_retried_trial_reports_its_steps_again(client: MlflowClient):
    """A task with retries is tried again as ever; the trial is told once, with what came of it."""
    tries = []

    @task(retries=1)
    def fit(x: float) -> float:
        tries.append(x)
        flowml.report(0, 0.1)
        if len(tries) == 1:
            raise ConnectionError("again")
        return 0.2

    study = tune(fit, x=Float(0, 1), minimize="loss", trials=1)
    assert study.counts() == {"complete": 1}
    assert [run.info.status for run in runs_of(client, "fit")] == ["FAILED", "FINISHED"]
    assert study.best.value == 0.2


@pytest.mark.parametrize(
    "step, value, match",
    [(-1, 1.0, "a whole number from 0, not -1"), (0, "much", "takes a number, not 'much'")],
)
def test_what_cannot_be_reported_is_said(step: int, value: float, match: str):
    """A step below 0 and a value that is no number are told at once."""
    with pytest.raises(flowml.TuningError, match=match):
        flowml.report(step, value)
