"""A model that the user's code has logged is linked when the task returns it, not logged again."""

from __future__ import annotations

from typing import Annotated, Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from sklearn.linear_model import Ridge

from flowml import Model, flow, task
from tests.runs import all_runs, run_of

X, Y = np.arange(10.0).reshape(5, 2), np.arange(5.0)


def models_of(client: MlflowClient) -> list[Any]:
    """Return all logged models, oldest first."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return sorted(client.search_logged_models(experiments), key=lambda model: model.creation_timestamp)


def outputs_of(client: MlflowClient, name: str) -> list[str]:
    """Return the ids of the models that a task's run has made."""
    outputs = run_of(client, name).outputs
    return [output.model_id for output in outputs.model_outputs] if outputs else []


@pytest.fixture(autouse=True)
def no_autologging_afterwards() -> Any:
    """Leave no autologging on for other tests."""
    yield
    mlflow.sklearn.autolog(disable=True, silent=True)


def test_a_model_logged_by_hand_is_linked_and_registered(client: MlflowClient) -> None:
    """The task's run has it as an output, and the marker's version is made of it."""

    @task
    def fit() -> Annotated[Ridge, Model("clf", register="ridge", alias="champion")]:
        with mlflow.start_run(run_name="mine"):
            model = Ridge().fit(X, Y)
            mlflow.sklearn.log_model(model, name="model", input_example=X[:2])
        return model

    @flow
    def training() -> None:
        fit()

    training()
    (model,) = models_of(client)
    assert outputs_of(client, "fit") == [model.model_id]
    loaded = mlflow.sklearn.load_model("models:/ridge@champion")
    assert loaded.predict(X) == pytest.approx(Ridge().fit(X, Y).predict(X))


def test_a_model_logged_by_autologging_in_a_run_by_hand_is_linked(client: MlflowClient) -> None:
    """MLflow's model is the only one."""

    @task
    def fit() -> Ridge:
        mlflow.sklearn.autolog(silent=True)
        with mlflow.start_run(run_name="mine"):
            return Ridge().fit(X, Y)

    @flow
    def training() -> None:
        fit()

    training()
    (model,) = models_of(client)
    (mine,) = [run for run in all_runs(client) if run.info.run_name == "mine"]
    assert model.source_run_id == mine.info.run_id
    assert outputs_of(client, "fit") == [model.model_id]


def test_a_model_that_was_fitted_again_since_is_another(client: MlflowClient) -> None:
    """What was logged is no longer what the task returns: that is logged too."""

    @task
    def fit() -> Ridge:
        mlflow.sklearn.autolog(silent=True)
        with mlflow.start_run(run_name="mine"):
            model = Ridge().fit(X, Y)
        mlflow.sklearn.autolog(disable=True, silent=True)
        return model.fit(X, 2 * Y)

    @flow
    def training() -> None:
        fit()

    training()
    first, second = models_of(client)
    assert outputs_of(client, "fit") == [second.model_id]
    again = mlflow.sklearn.load_model(f"models:/{second.model_id}")
    assert again.predict(X) == pytest.approx(2 * Y, abs=1.0)
    assert first.name == "model"
