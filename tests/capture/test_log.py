"""What a body logs by itself: parameters and metrics that are known only there."""

from __future__ import annotations

import dataclasses
import logging
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tests.runs import all_runs, flow_run, run_of

import flowml
from flowml import Track, flow, task


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return flowml's warnings."""
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("flowml:")]


def logged(client: MlflowClient, body: Any) -> Run:
    """Run a body in a task of a flow, and return the task's run."""

    @task
    def work() -> None:
        body()

    @flow
    def pipeline() -> None:
        work()

    pipeline()
    return run_of(client, "work")


@dataclasses.dataclass(frozen=True)
class Config:
    """A configuration that is made in a body."""

    rate: float = 0.1
    solver: str = "saga"


def test_parameters_of_the_body_have_their_own_names(client: MlflowClient) -> None:
    """A mapping as MLflow takes it, keywords, both, a configuration: nested keys joined by dots, numbers as text."""

    def body() -> None:
        flowml.log_params({"lr": 0.1, "net": {"depth": 3, "wide": True}}, optimizer="adam", seed=np.int64(7))
        flowml.log_params(Config())
        flowml.log_params({1: None, "layers": [3, 4], "loss": np.mean})
        flowml.log_params()
        flowml.log_params({})

    found = logged(client, body).data
    assert found.metrics == {}
    assert found.params == {
        "lr": "0.1",
        "net.depth": "3",
        "net.wide": "True",
        "optimizer": "adam",
        "seed": "7",
        "rate": "0.1",
        "solver": "saga",
        "1": "None",
        "layers": "[3, 4]",
        "loss": "numpy.mean",
    }


def test_metrics_of_the_body_have_their_own_names_and_steps(client: MlflowClient) -> None:
    """Each call is one step, as MLflow's is; without one it is the first."""

    def body() -> None:
        for step in range(3):
            flowml.log_metrics({"loss": 1 / (step + 1), "valid": {"auc": Decimal("0.5")}}, step=step)
        flowml.log_metrics({"loss": 0.125}, np.int64(3))
        flowml.log_metrics(metrics=OrderedDict(rows=np.float32(2)), done=True, one=np.array([0.5]))
        flowml.log_metrics()

    run = logged(client, body)
    assert run.data.params == {}
    assert run.data.metrics == {"loss": 0.125, "valid.auc": 0.5, "rows": 2.0, "done": 1.0, "one": 0.5}
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3), (3, 0.125)]


def test_a_flows_body_logs_to_the_flows_run(client: MlflowClient) -> None:
    """Where no task is running, it is the flow's run; a value beside an argument's is kept under the next number."""

    @flow
    def pipeline(rate: float) -> None:
        flowml.log_params(rate=rate / 2, chosen="b")
        flowml.log_metrics(rows=3)

    pipeline(1.0)
    found = flow_run(client).data
    assert found.params == {"rate": "1.0", "rate.2": "0.5", "chosen": "b"}
    assert found.metrics == {"rows": 3.0}


def test_secrets_are_masked(client: MlflowClient, caplog: pytest.LogCaptureFixture) -> None:
    """By their name and by their form, in keys, values and what is said of values; a metric is none."""

    def body() -> None:
        flowml.log_params({"api_key": "hunter2", "db": {"password": "hunter2"}}, url="http://ada:hunter2@db")
        flowml.log_metrics({"token": 0.5, "url": "http://ada:hunter2@db", "login": {"password": "hunter2"}})

    with caplog.at_level(logging.WARNING):
        found = logged(client, body).data
    assert found.params == {"api_key": "********", "db.password": "********", "url": "http://ada:********@db"}
    assert found.metrics == {"token": 0.5}  # a number is no secret
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("track", [True, Track(on_error="raise")], ids=["warn", "raise"])
def test_a_value_that_is_no_metric_costs_no_other(
    client: MlflowClient, caplog: pytest.LogCaptureFixture, track: Any
) -> None:
    """Each is named once, with its value and what to do, and the flow goes on, whatever ``on_error`` says of MLflow."""

    @flow(track=track)
    def pipeline() -> int:
        for step in range(2):
            wrong = {"kind": "forest", "none": None, "curve": [1, 2], "missing": None}
            flowml.log_metrics({**wrong, "loss": 0.5}, step=step, rows=3)
        flowml.log_metrics({"auc": 0.75}, step="last")  # type: ignore[arg-type]
        flowml.log_metrics([0.5], mae=1.0)  # type: ignore[arg-type]
        flowml.log_params(["a"], seed=7)  # type: ignore[arg-type]
        return 1

    with caplog.at_level(logging.WARNING):
        assert pipeline() == 1
    found = flow_run(client).data
    metrics = {key: value for key, value in found.metrics.items() if key != "pipeline"}
    assert metrics == {"loss": 0.5, "rows": 3.0, "auc": 0.75, "mae": 1.0}
    assert found.params == {"seed": "7"}
    told = said(caplog)
    for text in (
        "could not log the metric 'kind': 'kind' is 'forest', which is no number. Use flowml.log_params, or",
        "'none' is None, which is no number",
        "'curve' is [1, 2], which is no number",
        "'missing' is None, which is no number",
        "'last' is no whole number",
        "takes a mapping of names to numbers, not [0.5]",
        "takes a mapping of names to values, not ['a']",
    ):
        assert [text in line for line in told].count(True) == 1, text
    assert len(told) == 7


def test_of_very_many_wrong_values_some_are_named(client: MlflowClient, caplog: pytest.LogCaptureFixture) -> None:
    """A mapping of text does not flood the log."""
    with caplog.at_level(logging.WARNING):
        logged(client, lambda: flowml.log_metrics({f"name {number}": "text" for number in range(500)}))
    assert len(said(caplog)) == 6
    assert "495 more" in said(caplog)[-1]


def test_where_nothing_is_tracked_nothing_is_logged(client: MlflowClient, caplog: pytest.LogCaptureFixture) -> None:
    """Outside a call, with ``track=False`` and inside ``flowml.disabled`` both do nothing, also with wrong values."""

    def body() -> None:
        flowml.log_params({"lr": 0.1})
        flowml.log_metrics({"loss": "none"}, step=1)

    body()
    flow(body, name="untracked", track=False)()
    with flowml.disabled():
        flow(body, name="disabled")()
    assert all_runs(client) == []
    assert said(caplog) == []
