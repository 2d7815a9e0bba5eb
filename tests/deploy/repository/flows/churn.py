"""What two workers share: trainings that wait for each other, and what the best of them starts."""

import os
import time
from pathlib import Path
from typing import Annotated, Any

import mlflow
import numpy as np
from prefect.variables import Variable
from sklearn.linear_model import LogisticRegression

from flowml import Cron, Deployment, Model, OnModelPromoted, Skip, flow, task
from flowml.ops import reap

X, Y = np.arange(20.0).reshape(-1, 1), np.arange(20) > 9


@task
def fit(strength: float) -> Annotated[LogisticRegression, Model("churn", register="churn")]:
    """Fit and register."""
    return LogisticRegression(C=strength).fit(X, Y)


@task
def fit_champion(strength: float) -> Annotated[LogisticRegression, Model("churn", register="churn", alias="champion")]:
    """Fit, register and promote."""
    return LogisticRegression(C=strength).fit(X, Y)


@task
def evaluate(model: Annotated[Any, Skip()]) -> tuple[dict[str, float], Path]:
    """Say how good a model is, and write down where."""
    Path("report.txt").write_text(os.environ["PREFECT__WORKER_NAME"])
    return {"accuracy": model.score(X, Y)}, Path("report.txt")


def meet(me: str, other: str) -> None:
    """Wait until the other run is at work too: one worker alone, which takes one run at once, never ends."""
    Variable.set(me, os.environ["PREFECT__WORKER_NAME"], overwrite=True)
    until = time.monotonic() + 240
    while Variable.get(other) is None:
        if time.monotonic() > until:
            raise TimeoutError("the other one never came")
        time.sleep(0.2)


@flow
def training(me: str, other: str, *, strength: float = 1.0, promote: bool = False) -> float:
    """Train on one worker while the other trains."""
    meet(me, other)
    model = (fit_champion if promote else fit)(strength)
    return evaluate(model)[0]["accuracy"]


@task
def load() -> Annotated[Any, Skip()]:
    """Load what was promoted last."""
    Path("champion").mkdir()  # without a place of its own MLflow leaves a copy in the folder for temporary files
    return mlflow.sklearn.load_model("models:/churn@champion", dst_path="champion")


@flow
def scoring() -> int:
    """Score with it."""
    return int(load().predict(X).sum())


@flow(track=False)
def upkeep(grace: float = 60.0) -> None:
    """Close what dead machines left open."""
    reap(grace=grace)


shared = Deployment(training, "shared")
every_night = Deployment(upkeep, "every-night", schedule=Cron("0 2 29 2 *"))
on_champion = Deployment(scoring, "on-champion", triggers=[OnModelPromoted("churn")])
