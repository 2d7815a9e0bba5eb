"""A flow whose process is killed while the alias of its model moves; `python -m tests.registry.moved_late MOMENT`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from sklearn.dummy import DummyClassifier

from flowml import Model, flow, task

MOVING = ("before champion", "after champion", "before previous", "after previous")
"""It ends before or after MLflow moves an alias; "before version" is before there is one."""


def die_at(moment: str) -> None:
    """Let this process end at a moment, as the system ends one where no memory is left."""
    move, make = MlflowClient.set_registered_model_alias, MlflowClient.create_model_version

    def die(now: str) -> None:
        if now == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def move_and_die(client: MlflowClient, model: str, alias: str, version: str) -> None:
        die(f"before {alias}")
        move(client, model, alias, version)
        die(f"after {alias}")

    def die_and_make(*args: Any, **kwargs: Any) -> ModelVersion:
        die("before version")
        return make(*args, **kwargs)

    MlflowClient.set_registered_model_alias = move_and_die  # type: ignore[method-assign]
    MlflowClient.create_model_version = die_and_make  # type: ignore[method-assign]


@task
def fit() -> Annotated[DummyClassifier, Model("clf", register="churn", alias="champion")]:
    """Make a model that is to be the champion."""
    return DummyClassifier().fit([[0], [1]], [0, 1])


@flow
def killed() -> None:
    """Never end."""
    fit()


if __name__ == "__main__":
    die_at(sys.argv[1])
    killed()
