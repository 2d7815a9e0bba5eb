"""A flow whose process is killed while the alias of its model moves; `python -m tests.registry.moved_late MOMENT`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

from mlflow import MlflowClient
from sklearn.dummy import DummyClassifier

from flowml import Model, flow, task

MOMENTS = ("before champion", "after champion", "before previous", "after previous")
"""It ends before or after MLflow moves an alias."""


def die_at(moment: str) -> None:
    """Let this process end at a moment, as the system ends one where no memory is left."""
    move = MlflowClient.set_registered_model_alias

    def move_and_die(client: MlflowClient, model: str, alias: str, version: str) -> None:
        if moment == f"before {alias}":
            os.kill(os.getpid(), signal.SIGKILL)
        move(client, model, alias, version)
        if moment == f"after {alias}":
            os.kill(os.getpid(), signal.SIGKILL)

    MlflowClient.set_registered_model_alias = move_and_die  # type: ignore[method-assign]


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
