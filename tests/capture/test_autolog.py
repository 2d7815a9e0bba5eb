"""MLflow's autologging, for one task."""

from __future__ import annotations

import logging
from threading import Barrier
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS, get_autologging_config
from prefect.task_runners import ProcessPoolTaskRunner
from sklearn.linear_model import LinearRegression, LogisticRegression
from tests.runs import all_runs, run_of, runs_of

from flowml import Track, flow, task

INPUTS, TARGET = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]


def test_it_is_on_in_that_task_only(client: MlflowClient) -> None:
    """A task with autologging has the estimator's params; another has none, though it runs at the same time."""

    @task(track=Track(autolog="sklearn"))
    def with_autolog(strength: float) -> float:
        return float(LogisticRegression(C=strength).fit(INPUTS, TARGET).coef_[0][0])

    @task
    def without(strength: float) -> float:
        return float(LogisticRegression(C=strength).fit(INPUTS, TARGET).coef_[0][0])

    @flow
    def pipeline() -> None:
        others = without.map([0.5, 2.0])
        for strength in (0.5, 2.0):
            with_autolog.submit(strength).wait()
        others.wait()

    pipeline()
    for run in runs_of(client, "with_autolog"):
        assert run.data.params["C"] == run.data.params["strength"]
        assert "training_accuracy_score" in run.data.metrics
    for run in runs_of(client, "without"):
        assert run.data.params.keys() == {"strength"}
    assert len(all_runs(client)) == 5
    assert {run.info.status for run in all_runs(client)} == {"FINISHED"}
    LinearRegression().fit(INPUTS, TARGET)
    assert len(all_runs(client)) == 5
    assert get_autologging_config("sklearn", "disable", True) is True


def test_a_returned_model_is_logged_once(client: MlflowClient) -> None:
    """With the task's autologging, and with the user's own, the model that the task returns is one logged model."""

    @task(track=Track(autolog=True))
    def tracked() -> Any:
        return LinearRegression().fit(INPUTS, TARGET)

    @task
    def users_own() -> Any:
        mlflow.sklearn.autolog(log_model_signatures=False, log_input_examples=False)
        try:
            return LinearRegression().fit(INPUTS, TARGET)
        finally:
            mlflow.sklearn.autolog(disable=True)

    @flow
    def pipeline() -> None:
        tracked()
        users_own()

    pipeline()
    for name in ("tracked", "users_own"):
        run = run_of(client, name)
        assert run.data.params["fit_intercept"] == "True"
        assert len(client.get_run(run.info.run_id).outputs.model_outputs) == 1
    experiments = [run_of(client, "tracked").info.experiment_id]
    assert len(client.search_logged_models(experiments)) == 2


def test_tasks_that_autolog_at_the_same_time_are_told_so_once(
    client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    """MLflow does not keep their fits apart in one process; one line says so, and what would do."""
    together = Barrier(2)

    @task(track=Track(autolog="sklearn"))
    def tracked() -> None:
        together.wait(60)

    @flow
    def two() -> None:
        for future in [tracked.submit(), tracked.submit()]:
            future.result()

    with caplog.at_level(logging.WARNING):
        two()
        two()
    assert len([line for line in caplog.messages if "Track(autolog=...) run at the same time" in line]) == 1


def test_the_users_own_setting_is_as_it_was(client: MlflowClient) -> None:
    """Where the user has autologging on for the whole process, tasks with and without the option leave that alone."""
    mlflow.sklearn.autolog(log_models=False, log_input_examples=True, silent=True)
    before = dict(AUTOLOGGING_INTEGRATIONS["sklearn"])

    @task(track=Track(autolog="sklearn"))
    def tracked(strength: float) -> Any:
        return LogisticRegression(C=strength).fit(INPUTS, TARGET)

    @task
    def others(strength: float) -> float:
        return float(LogisticRegression(C=strength).fit(INPUTS, TARGET).coef_[0][0])

    @flow
    def pipeline() -> None:
        for strength in (0.5, 2.0):
            tracked(strength)
            others(strength)

    try:
        pipeline()
        assert dict(AUTOLOGGING_INTEGRATIONS["sklearn"]) == before
        assert get_autologging_config("sklearn", "disable", True) is False
    finally:
        mlflow.sklearn.autolog(disable=True, silent=True)
    runs = runs_of(client, "tracked") + runs_of(client, "others")
    assert [run.data.params["C"] for run in runs] == [run.data.params["strength"] for run in runs]
    assert len(all_runs(client)) == 5
    for run in runs_of(client, "tracked"):
        assert len(client.get_run(run.info.run_id).outputs.model_outputs) == 1


def test_turning_it_off_inside_is_for_good(client: MlflowClient) -> None:
    """A user who turns autologging on after a task had it for itself gets it everywhere, and off again."""

    @task(track=Track(autolog="sklearn"))
    def tracked() -> float:
        return float(LogisticRegression().fit(INPUTS, TARGET).coef_[0][0])

    @task
    def plain(strength: float) -> float:
        return float(LogisticRegression(C=strength).fit(INPUTS, TARGET).coef_[0][0])

    @flow
    def pipeline() -> None:
        tracked()
        plain(1.0)
        mlflow.sklearn.autolog(log_models=False, silent=True)
        plain(2.0)
        tracked()
        mlflow.sklearn.autolog(disable=True, silent=True)
        plain(3.0)
        tracked()

    pipeline()
    assert {run.data.params["strength"]: "C" in run.data.params for run in runs_of(client, "plain")} == {
        "1.0": False,
        "2.0": True,
        "3.0": False,
    }
    assert ["C" in run.data.params for run in runs_of(client, "tracked")] == [True] * 3
    assert get_autologging_config("sklearn", "disable", True) is True


@task(track=Track(autolog="sklearn"))
def fit_with(strength: float) -> Any:
    """Fit, with autologging."""
    return LogisticRegression(C=strength).fit(INPUTS, TARGET)


@task
def fit_without(strength: float) -> float:
    """Fit, without."""
    return float(LogisticRegression(C=strength).fit(INPUTS, TARGET).coef_[0][0])


@pytest.mark.slow
def test_it_is_on_in_that_task_only_in_a_process_pool(client: MlflowClient) -> None:
    """In one worker process, tasks with and without the option take turns, and each model is logged once."""

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def pipeline() -> None:
        futures = [each.submit(strength) for strength in (0.5, 2.0) for each in (fit_with, fit_without)]
        for future in futures:
            future.wait()

    pipeline()
    for run in runs_of(client, "fit_with"):
        assert run.data.params["C"] == run.data.params["strength"]
        assert len(client.get_run(run.info.run_id).outputs.model_outputs) == 1
    for run in runs_of(client, "fit_without"):
        assert run.data.params.keys() == {"strength"}
    assert len(all_runs(client)) == 5
    assert {run.info.status for run in all_runs(client)} == {"FINISHED"}


def test_wrong_names_are_refused() -> None:
    """A library that MLflow cannot autolog is named at decoration."""
    with pytest.raises(ValueError, match=r"Track\(autolog=...\) takes 'sklearn' or .*, not 'sk-learn'"):
        Track(autolog="sk-learn")
    with pytest.raises(TypeError, match=r"Track\(autolog=...\) takes True, False or names of libraries, not 3"):
        Track(autolog=3)  # type: ignore[arg-type]
