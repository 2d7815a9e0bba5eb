"""A flow with all that can be tracked, to be run offline and online."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import mlflow
import numpy as np
import pandas as pd
from prefect.futures import wait
from sklearn.linear_model import LogisticRegression

import flowml
from flowml import Artifact, Dataset, Model, Track, flow, task

NAME = "reference"
POINTS = 1_200  # of a history: more than one request takes
_TRIES: list[int] = []


@task
def load(rows: int) -> Annotated[pd.DataFrame, Dataset("customers", save=True)]:
    """Make a table."""
    values = np.linspace(0.0, 1.0, rows)
    return pd.DataFrame({"x": values, "y": (values > 0.5).astype("float64")})


@task
def square(number: int) -> float:
    """Return a metric."""
    return float(number**2)


@task
def train(frame: pd.DataFrame) -> Annotated[LogisticRegression, Model("clf", register="churn", alias="champion")]:
    """Make a model that is registered."""
    return LogisticRegression(C=0.5).fit(frame[["x"]], frame["y"])


@task
def predict(model: LogisticRegression, frame: pd.DataFrame) -> dict[str, float]:
    """Read a model."""
    return {"accuracy": float(model.score(frame[["x"]], frame["y"]))}


@task(retries=1)
def flaky() -> str:
    """Fail once."""
    _TRIES.append(1)
    if len(_TRIES) % 2:
        raise ValueError("not yet")
    return "done"


@task
def report() -> Annotated[dict[str, int], Artifact("report/summary.json")]:
    """Make a file, and another in a folder."""
    folder = Path("made")
    folder.mkdir(exist_ok=True)
    (folder / "notes.txt").write_text("notes")
    mlflow.log_artifact(str(folder / "notes.txt"), "by/hand")
    return {"rows": 3}


@task
def by_hand() -> None:
    """Track with MLflow's own words."""
    mlflow.set_tag("hand", "made")
    mlflow.log_param("alpha", 0.1)
    for step, loss in enumerate((0.5, float("nan"), float("inf"), 0.1)):
        mlflow.log_metric("loss", loss, step=step, timestamp=1_700_000_000_000 + step)
    with mlflow.start_run(run_name="inner", nested=True):
        mlflow.log_metric("inner", 1.0)
        info = mlflow.sklearn.log_model(
            LogisticRegression(), name="inner-model", registered_model_name="by-hand", pip_requirements=["scikit-learn"]
        )
        mlflow.log_metric("auc", 0.75, model_id=info.model_id, timestamp=1_700_000_000_000)
    client = mlflow.MlflowClient()
    client.update_registered_model("by-hand", "Made by hand.")
    client.set_registered_model_tag("by-hand", "team", "a")


@task(track=Track(autolog=True))
def autologged() -> None:
    """Let MLflow log by itself."""
    LogisticRegression(C=2.0).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])


@task
def traced() -> int:
    """Leave a trace of two spans."""

    @mlflow.trace
    def outer(number: int) -> int:
        return inner(number) + 1

    @mlflow.trace
    def inner(number: int) -> int:
        return number * 2

    return outer(2)


@flow
def below() -> float:
    """A flow in the flow."""
    return square(5)


@flow(name=NAME)
def reference(rows: int = 40) -> None:
    """Do all of it."""
    frame = load(rows)
    wait(square.map([1, 2, 3]))
    model = train(frame)
    predict(model, frame)
    flaky()
    report()
    by_hand()
    autologged()
    traced()
    below()
    flowml.log_metrics({"plain": 1.0}, step=1)
    run = mlflow.active_run()
    points = [
        mlflow.entities.Metric("long", number / 7, 1_700_000_000_000 + number, number) for number in range(POINTS)
    ]
    mlflow.MlflowClient().log_batch(run.info.run_id, metrics=points[:600])
    mlflow.MlflowClient().log_batch(run.info.run_id, metrics=points[600:])
