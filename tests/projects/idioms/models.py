"""Models that are logged by hand, or by MLflow's autologging."""

from __future__ import annotations

from typing import Any

import mlflow
from mlflow import MlflowClient
from sklearn.datasets import make_regression
from sklearn.linear_model import Ridge

from tests.projects.idioms.sides import Side, idiom

WAYS = ("called", "submitted", "awaited")


def fitted(strength: float) -> Any:
    """Fit a small model."""
    X, y = make_regression(30, 2, random_state=1)
    return Ridge(alpha=strength).fit(X, y)


def models_of(name: str) -> Any:
    """Return the models of an experiment, each with the run that it is of."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name(name)
    models = client.search_logged_models([experiment.experiment_id])
    return sorted([model.name, mlflow.get_run(model.source_run_id).info.run_name] for model in models)


@idiom(ways=WAYS)
async def logged_by_hand_and_returned(on: Side) -> Any:
    """A model is logged by hand and returned by the task: it is one model, of the author's run."""

    @on.task
    def train(strength: float) -> Any:
        with mlflow.start_run(run_name="by hand"):
            model = fitted(strength)
            mlflow.sklearn.log_model(model, name="ridge", pip_requirements=["scikit-learn"])
        return model

    @on.flow
    async def main() -> Any:
        mlflow.set_experiment("models")
        model = await train(0.5)
        return model.alpha, models_of("models")

    return await main()


@idiom(ways=WAYS)
async def autologged_and_returned(on: Side) -> Any:
    """Autologging logs a model in the author's run, and the task returns it: it is one model."""

    @on.task
    def train() -> Any:
        mlflow.sklearn.autolog(log_model_signatures=False, log_datasets=False)
        with mlflow.start_run(run_name="autologged") as run:
            model = fitted(2.0)
        mlflow.sklearn.autolog(disable=True)
        data = mlflow.get_run(run.info.run_id).data
        return model, data.params["alpha"], sorted(data.metrics)

    @on.flow
    async def main() -> Any:
        mlflow.set_experiment("models")
        _, *read = await train()
        return read, models_of("models")

    return await main()


@idiom(ways=WAYS)
async def autologging_in_one_task_only(on: Side) -> Any:
    """Autologging is on in one task and off in the next."""

    @on.task
    def train(*, autolog: bool) -> str:
        mlflow.sklearn.autolog(disable=not autolog, log_models=False, log_datasets=False)
        with mlflow.start_run(run_name=f"autolog {autolog}"):
            fitted(1.5)
        return "fitted"

    @on.flow
    async def main() -> Any:
        mlflow.set_experiment("models")
        return await train(autolog=True), await train(autolog=False), models_of("models")

    return await main()


@idiom(ways=WAYS, as_called=True)
async def autologging_round_tasks(on: Side) -> Any:
    """The flow's body turns autologging on and opens the run; a task fits inside."""

    @on.task
    def train() -> float:
        return float(fitted(3.0).coef_[0].round(3))

    @on.flow
    async def main() -> Any:
        mlflow.set_experiment("models")
        mlflow.sklearn.autolog(log_models=False, log_datasets=False)
        with mlflow.start_run(run_name="round it") as run:
            weight = await train()
        mlflow.sklearn.autolog(disable=True)
        return weight, mlflow.get_run(run.info.run_id).data.params["alpha"]

    return await main()


@idiom(ways=WAYS)
async def registered_by_its_run(on: Side) -> Any:
    """A model is registered by its run, gets an alias, and is loaded by it in another task."""

    @on.task
    def train() -> str:
        with mlflow.start_run(run_name="registered") as run:
            mlflow.sklearn.log_model(fitted(0.1), name="ridge", pip_requirements=["scikit-learn"])
        return run.info.run_id

    @on.task
    def register(run_id: str) -> Any:
        version = mlflow.register_model(f"runs:/{run_id}/ridge", "ridges")
        MlflowClient().set_registered_model_alias("ridges", "best", version.version)
        return version.version, version.run_id == run_id

    @on.task
    def load() -> float:
        return mlflow.sklearn.load_model("models:/ridges@best").alpha

    @on.flow
    async def main() -> Any:
        mlflow.set_experiment("models")
        version = await register(await train())
        return version, await load(), models_of("models")

    return await main()
