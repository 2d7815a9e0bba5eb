"""Parameters and metrics have the names that go back into a constructor, and that flow runs compare by."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from mlflow import MlflowClient
from sklearn.ensemble import RandomForestRegressor
from tests.runs import flow_run, run_of

from flowml import Param, Track, flow, task

Params = Annotated[dict[str, Any], Param(prefix=False)]


def test_logged_parameters_go_back_into_the_constructor(client: MlflowClient) -> None:
    """What a search returned beside its metrics, and what a fit was given, have the names that the model has."""

    @task
    def search() -> tuple[Params, dict[str, float]]:
        return {"criterion": "squared_error", "max_features": "sqrt"}, {"rmse": 1.5}

    @task
    def fit(params: Params) -> str:
        return str(RandomForestRegressor(**params).max_features)

    @flow
    def pipeline() -> None:
        fit(search()[0])

    pipeline()
    best, given = run_of(client, "search"), run_of(client, "fit")
    assert best.data.params == {"criterion": "squared_error", "max_features": "sqrt"}
    assert given.data.params == {**best.data.params, "return": "sqrt"}
    assert best.data.metrics == {"rmse": 1.5}
    assert RandomForestRegressor(**best.data.params).max_features == "sqrt"


@pytest.mark.parametrize("children", ["all", "none"])
def test_a_flows_metrics_name_each_task_once(client: MlflowClient, children: Any) -> None:
    """A metric that begins with its task's name gets that name no second time; two metrics never become one."""

    @task
    def fit() -> tuple[float, str]:
        return 0.5, "forest"

    @task
    def train() -> dict[str, Any]:
        return {"loss": 0.25, "train": {"loss": 0.5, "auc": 0.75}}

    @flow(track=Track(children=children))
    def pipeline() -> None:
        fit()
        train()

    pipeline()
    end = ".max" if children == "none" else ""
    expected = {"fit.0": 0.5, "train.loss": 0.25, "train.train.loss": 0.5, "train.auc": 0.75}
    found = flow_run(client).data.metrics
    assert {f"{key}{end}": value for key, value in expected.items()}.items() <= found.items()
    assert not [key for key in found if key.startswith("fit.fit")]
