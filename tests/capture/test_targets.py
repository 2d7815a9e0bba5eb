"""Tables of gradient boosting and targets in lists reach MLflow as datasets."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import xgboost
from mlflow import MlflowClient
from prefect.cache_policies import NO_CACHE
from tests.runs import run_of

from flowml import flow, task

ROWS = np.arange(600.0).reshape(200, 3)


@task(cache_policy=NO_CACHE)
def load() -> tuple[Any, ...]:
    """Return one of each."""
    numbers = ROWS[:, 0].tolist()
    return xgboost.DMatrix(ROWS, numbers), lightgbm.Dataset(ROWS, numbers), numbers, lightgbm.Dataset("a.csv")


@task(cache_policy=NO_CACHE)
def fit(matrix: Any, table: Any, target: list[float]) -> float:
    """Train on each."""
    lightgbm.train({"verbose": -1}, table, 1)
    return float(xgboost.train({}, matrix, 1).predict(matrix)[0]) + len(target)


def test_they_are_datasets_of_the_runs_that_made_and_used_them(client: MlflowClient) -> None:
    """The same ones, by their digests, are outputs of the one and inputs of the other."""

    @flow
    def pipeline() -> None:
        fit(*load()[:3])

    pipeline()
    made, used = (
        {each.dataset.digest for each in run_of(client, name).inputs.dataset_inputs} for name in ("load", "fit")
    )
    assert (len(made), len(used)) == (4, 3)
    assert used <= made
    assert run_of(client, "fit").data.params == {}
    assert run_of(client, "load").data.metrics == {}
