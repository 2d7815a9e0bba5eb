"""Evaluation of models of tables, by MLflow's evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression, LogisticRegression
from tests.runs import run_of

import flowml
from flowml import AtLeast, Better, Evaluation, flow

RANDOM = np.random.default_rng(7)
TABLE = pd.DataFrame(RANDOM.normal(size=(120, 2)), columns=["a", "b"])
TABLE["y"] = (TABLE["a"] + RANDOM.normal(scale=0.7, size=120) > 0).astype(int)
NUMBERS = TABLE.assign(y=2.0 * TABLE["a"] + RANDOM.normal(scale=0.5, size=120))


def evaluated(given: Any, **options: Any) -> Evaluation:
    """Evaluate in a flow."""
    options = {"data": TABLE, "target": "y"} | options

    @flow
    def evaluating() -> Evaluation:
        return flowml.evaluate(given, **options)

    return evaluating()


@pytest.mark.slow
def test_a_classifier_has_mlflows_metrics_with_intervals(client: MlflowClient) -> None:
    """The metrics are MLflow's; those that can be drawn anew have an interval, others none; a function is one too."""
    model = LogisticRegression().fit(TABLE[["a", "b"]], TABLE["y"])

    def share(truth: Any, predicted: Any) -> float:
        return float(np.mean(predicted))

    found = evaluated(model, scorers=[share])
    accuracy = found.scores["accuracy_score"]
    assert accuracy.mean == pytest.approx(model.score(TABLE[["a", "b"]], TABLE["y"]))
    assert accuracy.interval is not None
    assert accuracy.interval[0] < accuracy.mean < accuracy.interval[1]
    assert found.scores["example_count"].interval is None
    assert found.metrics["share"] == pytest.approx(model.predict(TABLE[["a", "b"]]).mean())
    run = run_of(client, "evaluate")
    assert run.data.metrics["accuracy_score.low"] == accuracy.interval[0]
    assert run.data.metrics["accuracy_score"] == accuracy.mean
    logged = {(each.dataset.name, each.dataset.digest) for each in run.inputs.dataset_inputs}
    assert found.dataset in logged


def test_a_regressor_is_known_by_its_target(client: MlflowClient) -> None:
    """Numbers are evaluated as numbers; a function that predicts is a model."""
    model = LinearRegression().fit(NUMBERS[["a", "b"]], NUMBERS["y"])
    found = evaluated(model.predict, data=NUMBERS)
    score = found.scores["r2_score"]
    assert score.mean == pytest.approx(model.score(NUMBERS[["a", "b"]], NUMBERS["y"]))
    assert score.interval is not None
    assert "absolute_error" in found.table


@pytest.mark.slow
def test_a_gate_decides_by_rows_of_tables(client: MlflowClient) -> None:
    """What is right of single rows can be compared, and gated on."""
    good = evaluated(LogisticRegression().fit(TABLE[["a", "b"]], TABLE["y"]))
    bad = evaluated(lambda table: np.ones(len(table), dtype=int))

    @flow
    def gating() -> flowml.Verdict:
        return flowml.gate(good, rules=[AtLeast("correct", 0.7), Better("correct", where="a > -5")], against=bad)

    assert gating()
    assert good.compare(bad)["correct"].is_sure


@pytest.mark.parametrize(
    "options, said",
    [
        ({"target": "z"}, "The data has no column 'z', which is to be the target"),
        ({"data": TABLE.iloc[:0]}, "The data has no rows"),
        ({"data": TABLE.assign(y=None)}, "The target 'y' is missing in 120 of 120 rows"),
        ({"given": None}, "needs a model, or a function that predicts"),
        ({"given": "models:/nothing/1"}, "There is no registered model 'nothing'"),
    ],
)
def test_what_cannot_be_evaluated(client: MlflowClient, options: dict[str, Any], said: str) -> None:
    """Bad input is an error that says what was wrong."""
    with pytest.raises(flowml.FlowmlError, match=said):
        evaluated(options.pop("given", lambda table: np.ones(len(table))), **options)
