"""Which values that tasks return become MLflow's models."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler
from tests.runs import all_runs, run_of

import flowml
from flowml import Model, flow, task


@task
def scale() -> StandardScaler:
    """Fit what prepares."""
    return StandardScaler().fit([[0.0], [1.0]])


@task
def marked() -> Annotated[StandardScaler, Model("scaler")]:
    """Fit what prepares, to be kept."""
    return StandardScaler().fit([[0.0], [1.0]])


@task
def fit(scaler: StandardScaler) -> LinearRegression:
    """Fit what predicts."""
    model = LinearRegression().fit(scaler.transform([[0.0], [1.0]]), [0.0, 1.0])
    flowml.log(again=model)
    return model


@flow
def pipeline() -> None:
    """Call all of them."""
    marked()
    fit(scale())


def names(client: MlflowClient) -> list[str]:
    """Return the names of all logged models."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return sorted(model.name for model in client.search_logged_models(experiments))


def test_what_predicts_or_is_marked_is_a_model(client: MlflowClient) -> None:
    """A scaler is its type and settings, with no file; a marked one, and a regression, are models."""
    pipeline()
    assert names(client) == ["again", "scaler"]
    run = run_of(client, "scale")
    assert run.data.params["return"] == "StandardScaler"
    assert client.list_artifacts(run.info.run_id) == []
    assert run_of(client, "fit").data.params["scaler"] == "StandardScaler"


def test_the_setting_makes_each_hyper_parameter_a_parameter(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``model_params = "all"`` logs the defaults too, of what a task was given and of what it made."""
    monkeypatch.setenv("FLOWML_MODEL_PARAMS", "all")
    pipeline()
    found = run_of(client, "fit").data.params
    assert (found["scaler.with_mean"], found["fit.fit_intercept"]) == ("True", "True")


@pytest.mark.parametrize("setting, expected", [("marked", ["scaler"]), ("all", None)])
def test_the_setting_says_which_models_are_logged(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, setting: str, expected: Any
) -> None:
    """``models = "marked"`` keeps those with a marker alone; a word that it does not know is refused."""
    monkeypatch.setenv("FLOWML_MODELS", setting)
    if expected is None:
        with pytest.raises(flowml.SettingsError, match=r"models \(FLOWML_MODELS.*'all'.*'auto' or 'marked'"):
            flowml.settings.reload()
        return
    pipeline()
    assert names(client) == expected
    assert run_of(client, "fit").data.params["return"] == "LinearRegression"
    assert len(all_runs(client)) == 4
