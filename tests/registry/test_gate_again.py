"""Gates on what comes again: a model from a cache, or the same question in another attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.cache_policies import INPUTS, NO_CACHE
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.runs import runs_of

import flowml
from flowml import AtLeast, Better, RegistryError, flow, gate, task
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


def decide(candidate: Any, data: Any, **more: Any) -> Any:
    """Ask whether a candidate is better than the champion, with few draws."""
    rules = {"rules": [Better("roc_auc", by=0.002)]}
    return gate(candidate, data, "target", against="churn@champion", resamples=100, **rules | more)


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


@pytest.mark.slow
@pytest.mark.parametrize("is_kept", [False, True])
def test_a_flow_that_runs_again_has_its_verdict(protected, project, *, is_kept: bool):
    """What its first attempt decided stands, though the candidate is champion since: fitted again, or from a cache."""
    verdicts = []

    @task(cache_policy=INPUTS if is_kept else NO_CACHE, persist_result=is_kept)
    def fit(_: str) -> Any:
        return fitted()

    @flow(retries=1)
    def training() -> None:
        verdicts.append(decide(fit(str(project)), TEST))
        version = flowml.register(fitted(), "churn")
        flowml.promote("churn", version.version)
        if len(verdicts) == 1:
            raise ConnectionError

    old = flow(lambda: flowml.register(fitted(1), "churn", alias="challenger"))
    old()
    flow(lambda: decide("churn/1", TEST, rules=ABSOLUTE) and flowml.promote("churn", 1))()
    training()
    assert verdicts[0]
    assert verdicts[0] == verdicts[1]
    assert [entry.decision.facts["passed"] for entry in gates_of(protected)] == [True, True]
    assert len(runs_of(protected, "gate")) == 3


def test_another_question_is_decided_anew(client):
    """In a flow that runs again, the gate decides about other rows, by other rules, and about another candidate."""
    verdicts = []

    @flow(retries=1)
    def training(first: tuple[Any, ...], second: tuple[Any, ...]) -> None:
        columns, rows, rules = second if verdicts else first
        verdicts.append(decide(fitted(columns), rows, rules=rules))
        if len(verdicts) == 1:
            raise ConnectionError

    other = [AtLeast("accuracy", 0.1)]
    for number, changed in enumerate([(29, TEST, ABSOLUTE), (30, TEST[1:], ABSOLUTE), (30, TEST, other)], start=1):
        verdicts.clear()
        training((30, TEST, ABSOLUTE), changed)
        assert verdicts[0].run_id != verdicts[1].run_id
        assert len(gates_of(client)) == 2 * number


def test_the_same_question_asked_twice_has_its_two_verdicts(client):
    """A flow that asks the gate twice is given both verdicts when it runs again, in their order."""
    asked: list[list[str | None]] = []

    @flow(retries=1)
    def training() -> None:
        model = fitted()
        asked.append([decide(model, TEST).run_id, decide(model, TEST).run_id])
        if len(asked) == 1:
            raise ConnectionError

    training()
    assert asked[0] == asked[1]
    assert len(set(asked[0])) == len(gates_of(client)) == 2


def test_a_gate_is_about_no_other_model(protected):
    """A version of another model lacks its gate, though a model of the same sort has passed."""

    @flow
    def training() -> None:
        assert gate(fitted(30), TEST, "target", against="churn@champion", rules=ABSOLUTE, resamples=100)
        flowml.promote("churn", flowml.register(fitted(29), "churn").version)

    with pytest.raises(RegistryError, match="version 1 lacks a gate"):
        training()
