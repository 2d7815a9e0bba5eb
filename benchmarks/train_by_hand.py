"""flows/train.py as people write it without flowml: Prefect, and MLflow's calls in each task.

The functions that do the work are those of flows/train.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mlflow
import prefect
from prefect import unmapped
from prefect.cache_policies import NO_CACHE

import train

EXPERIMENT: dict[str, str | None] = {"experiment_id": None}  # said by whoever calls the flow
_parent: dict[str, str] = {}  # MLflow's own stack of runs ends at a thread's border

task = prefect.task(cache_policy=NO_CACHE)


@contextmanager
def run(name: str, **params: object) -> Iterator[None]:
    """Open a task's run."""
    with mlflow.start_run(run_name=name, nested=True, tags=_parent, experiment_id=EXPERIMENT["experiment_id"]):
        mlflow.log_params(params)
        yield


def note(role: str, **tables: Any) -> None:
    """Log which tables the task read or made."""
    for name, table in tables.items():
        mlflow.log_input(mlflow.data.from_pandas(table, name=name), context=role)


@task
def validate(table: Any, target: str) -> Any:
    """Check the table."""
    with run("validate", target=target):
        note("input", table=table)
        found = train.validate.fn(table, target)
        note("output", validate=found)
    return found


@task
def split(table: Any, target: str) -> Any:
    """Split it."""
    with run("split", target=target, test_size=0.25):
        note("input", table=table)
        found = train.split.fn(table, target)
        note("output", **found)
    return found


@task
def fit(candidate: Any, table: Any, target: str) -> Any:
    """Fit one classifier and log it."""
    with run("fit", target=target, candidate=type(candidate).__name__, **candidate.get_params()):
        note("input", train=table)
        model = train.fit.fn(candidate, table, target)
        example = table.drop(columns=target).head(5)
        # MLflow's default format refuses some of these classifiers.
        logged = mlflow.sklearn.log_model(
            model, name="model", input_example=example, serialization_format="cloudpickle"
        )
    return model, logged.model_id


@task
def evaluate(model: Any, table: Any, target: str) -> Any:
    """Compare it on held-out rows."""
    with run("evaluate", target=target):
        note("input", test=table)
        found = train.evaluate.fn(model, table, target)
        mlflow.log_metrics(found)
    return found


@task
def register(model: Any, model_id: str, table: Any, target: str) -> None:
    """Draw the best one and register it."""
    with run("register", target=target):
        note("input", test=table)
        _, figures = train.register.fn(model, table, target)
        for name, figure in figures.items():
            mlflow.log_figure(figure, f"{name}.png")
        version = mlflow.register_model(f"models:/{model_id}", "classifier")
        mlflow.MlflowClient().set_registered_model_alias("classifier", "champion", version.version)


@prefect.flow
def training(target: str = "target") -> dict[str, object]:
    """Train, compare, register."""
    with mlflow.start_run(run_name="training", experiment_id=EXPERIMENT["experiment_id"]) as above:
        mlflow.log_param("target", target)
        _parent["mlflow.parentRunId"] = above.info.run_id
        table = train.datasets.load_breast_cancer(as_frame=True).frame
        halves = split(validate(table, target), target)
        fitted = fit.map(train.CANDIDATES, unmapped(halves["train"]), target).result()
        models = [model for model, _ in fitted]
        scores = evaluate.map(models, unmapped(halves["test"]), target).result()
        best = max(range(len(fitted)), key=lambda number: scores[number]["roc_auc"])
        register(*fitted[best], halves["test"], target)
        mlflow.log_metrics(scores[best])
    return {"winner": str(models[best][-1]), **scores[best]}
