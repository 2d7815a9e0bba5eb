"""The gate, with real models of scikit-learn, on a real MLflow and Prefect."""

from __future__ import annotations

import hashlib
import json
import pickle
from typing import Annotated, Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from tests.runs import run_of, runs_of

from flowml import (
    AtLeast,
    AtMost,
    Better,
    Model,
    NotWorse,
    OwnMetric,
    RegistryError,
    Significant,
    Track,
    disabled,
    flow,
    gate,
    task,
)
from flowml.registry.evidence import digest_of
from flowml.store.ledger import Ledger

FRAME = load_breast_cancer(as_frame=True).frame.rename(columns=lambda name: name.replace(" ", "_"))
TRAIN, TEST = FRAME.iloc[::2], FRAME.iloc[1::2]
ABSOLUTE = [AtLeast("accuracy", 0.9)]


def fitted(columns: int = 30, rows: pd.DataFrame = TRAIN) -> Any:
    """Fit a classifier on some of the columns."""
    X = rows.drop(columns="target").iloc[:, :columns]
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(X, rows["target"])


@task
def fit(columns: int) -> Any:
    return fitted(columns)


@task
def register(model: Any) -> Annotated[Any, Model("clf", register="churn", alias="champion")]:
    return model


@pytest.fixture
def champion(client: MlflowClient) -> MlflowClient:
    """Register a champion that knows one column, by a flow."""

    @flow
    def first() -> None:
        register(fit(1))

    first()
    return client


def test_a_better_candidate_passes_and_leaves_its_evidence(champion):
    """Of a flow's candidate the run of the gate has JSON, table, note, metrics of the model; the ledger an entry."""

    @flow
    def training() -> Any:
        rules = [Better("roc_auc", by=0.002), AtMost("log_loss", 0.2), Significant("roc_auc")]
        return gate(fit(30), TEST, "target", against="churn@champion", rules=rules)

    verdict = training()
    assert verdict, str(verdict)
    assert [each.verdict for each in verdict.results] == ["passed"] * 3
    assert (verdict.model, verdict.champion) == ("churn", "1")
    run = run_of(champion, "gate")
    assert run.info.run_id == verdict.run_id
    text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/gate/evidence.json")
    assert hashlib.sha256(text.encode()).hexdigest() == verdict.digest
    told = json.loads(text)
    assert told["data"]["digest"] == run.inputs.dataset_inputs[0].dataset.digest
    assert (told["seed"], told["resamples"], told["rows"]) == (20_251, 1000, len(TEST))
    table = json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/gate/rules.json"))
    assert [row[0] for row in table["data"]] == [each.rule for each in verdict.results]
    assert run.data.tags["mlflow.note.content"].startswith("**Passed**")
    assert run.data.tags["flowml.gate"] == "passed"
    model = champion.get_logged_model(verdict.candidate)
    metrics = {metric.key: metric for metric in model.metrics}
    assert metrics["roc_auc"].value == verdict.results[0].candidate
    assert metrics["roc_auc"].dataset_digest == told["data"]["digest"]
    assert "champion.roc_auc" not in metrics
    (entry,) = Ledger(champion, "churn").entries()
    assert (entry.decision.kind, entry.decision.version, entry.decision.run_id) == ("gate", None, verdict.run_id)
    facts = entry.decision.facts
    assert (facts["passed"], facts["evidence"], facts["champion"]) == (True, verdict.digest, "1")
    assert facts["candidate"] == verdict.candidate
    assert facts["task_run"] == run.data.tags["prefect.task_run_id"]
    assert entry.decision.flow_run_id == run.data.tags["prefect.flow_run_id"]
    assert entry.decision.who != "unknown"


def test_prefect_shows_the_evidence(champion):
    """The flow run has an artifact with the table, of the gate's task run."""

    @flow
    def training() -> str:
        return gate(fit(30), TEST, "target", against="churn/1", rules=[Better("accuracy")]).digest

    training()
    tags = run_of(champion, "gate").data.tags
    with get_client(sync_client=True) as api:
        found = [one for one in api.read_artifacts() if str(one.flow_run_id) == tags["prefect.flow_run_id"]]
    (shown,) = [one for one in found if one.key == "gate"]
    assert str(shown.task_run_id) == tags["prefect.task_run_id"]
    assert "**Passed**" in shown.data
