"""Gates on what comes again: a model from a cache, or the same question in another attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.cache_policies import INPUTS
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.runs import runs_of

import flowml
from flowml import AtLeast, RegistryError, flow, gate, task
from flowml.registry import history
from flowml.store.ledger import Entry, Ledger

FRAME = load_breast_cancer(as_frame=True).frame
TRAIN, TEST = FRAME.iloc[::2], FRAME.iloc[1::2]
ABSOLUTE = [AtLeast("accuracy", 0.8)]


def fitted(columns: int = 30) -> Any:
    """Fit a classifier whose parts are other objects, and fewer, when it was pickled."""
    X = TRAIN.drop(columns="target").iloc[:, :columns]
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(X, TRAIN["target"])


def searched(columns: int = 30) -> Any:
    """Fit a search, which joblib cannot hash with each NumPy."""
    X = TRAIN.drop(columns="target").iloc[:, :columns]
    return GridSearchCV(LogisticRegression(max_iter=50), {"C": [1, 2]}, cv=2).fit(X, TRAIN["target"])


def gates_of(client: MlflowClient) -> list[Entry]:
    """Read what gates decided, without the moves of aliases."""
    return [entry for entry in Ledger(client, "churn").entries() if entry.decision.kind == "gate"]


@pytest.fixture
def protected(project, client) -> MlflowClient:
    """Protect the champion of all models by a gate."""
    (project / "pyproject.toml").write_text('[tool.flowml.registry."*"]\nchampion = { gate = true }\n')
    return client


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("make", [fitted, searched])
def test_a_model_from_a_cache_passes_its_gate(protected, project, make: Callable[[], Any]):
    """A version of a model that a cache gave passes by the gate on it, which audit and history show."""

    @task(cache_policy=INPUTS, persist_result=True)
    def fit(_: str) -> Any:
        return make()

    @flow
    def training() -> int:
        model = fit(f"{project} {make.__name__}")  # other tests have other keys
        assert gate(model, TEST, "target", against="churn@champion", rules=ABSOLUTE, resamples=100)
        version = flowml.register(model, "churn").version
        flowml.promote("churn", version)
        return int(version)

    assert [training(), training()] == [1, 2]
    assert [run.data.tags.get("flowml.cached") for run in runs_of(protected, "fit")].count("true") == 1
    assert protected.get_registered_model("churn").aliases["champion"] == 2
    first, second = gates_of(protected)
    moves = history.moves_in(history.entries_of(protected, "churn"), "champion")
    assert [move.evidence for move in moves] == [first.number, second.number]


def test_a_gate_is_about_no_other_model(protected):
    """A version of another model lacks its gate, though a model of the same sort has passed."""

    @flow
    def training() -> None:
        assert gate(fitted(30), TEST, "target", against="churn@champion", rules=ABSOLUTE, resamples=100)
        flowml.promote("churn", flowml.register(fitted(29), "churn").version)

    with pytest.raises(RegistryError, match="version 1 lacks a gate"):
        training()
