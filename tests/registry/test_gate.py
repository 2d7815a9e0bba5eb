"""The gate, with real models of scikit-learn, on a real MLflow and Prefect."""

from __future__ import annotations

import asyncio
import hashlib
import json
import pickle
import shutil
from typing import Annotated, Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
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
from flowml.store.ledger import Entry, Ledger

FRAME = load_breast_cancer(as_frame=True).frame.rename(columns=lambda name: name.replace(" ", "_"))
TRAIN, TEST = FRAME.iloc[::2], FRAME.iloc[1::2]
ABSOLUTE = [AtLeast("accuracy", 0.9)]

# Prefect's, of tasks outside flows.
pytestmark = pytest.mark.filterwarnings("ignore:Logger 'prefect.task_runs' attempted to send logs")


def decide(*given: Any, **more: Any) -> Any:
    """Call the gate, with few draws."""
    return gate(*given, **{"resamples": 100} | more)


def fitted(columns: int = 30, rows: pd.DataFrame = TRAIN) -> Any:
    """Fit a classifier on some of the columns."""
    X = rows.drop(columns="target").iloc[:, :columns]
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(X, rows["target"])


def gates_of(client: MlflowClient) -> list[Entry]:
    """Read what gates decided, without the moves of aliases."""
    return [entry for entry in Ledger(client, "churn").entries() if entry.decision.kind == "gate"]


@task
def fit(columns: int) -> Any:
    """Fit a classifier in a task, which logs it."""
    return fitted(columns)


@task
def register(model: Any) -> Annotated[Any, Model("clf", register="churn", alias="champion")]:
    """Make it the champion."""
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
    (entry,) = gates_of(champion)
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
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[tags["prefect.flow_run_id"]]))
        found = api.read_artifacts(flow_run_filter=mine)
    (shown,) = [one for one in found if one.key == "gate"]
    assert str(shown.task_run_id) == tags["prefect.task_run_id"]
    assert "**Passed**" in shown.data


def test_the_first_model_meets_the_absolute_rules_only(client, caplog):
    """Where no champion is, comparing rules do not apply, which the verdict and the log say; the decision is kept."""
    rules = [Better("roc_auc"), AtLeast("accuracy", 0.9)]
    verdict = decide(fitted(), TEST, "target", against="churn@champion", rules=rules)
    assert verdict
    assert [each.verdict for each in verdict.results] == ["not applicable", "passed"]
    assert "there is no champion yet: There is no registered model 'churn'" in verdict.results[0].reason
    assert "absolute rules only: there is no champion yet" in caplog.text
    assert "without a champion" in str(verdict)
    note = run_of(client, "gate").data.tags["mlflow.note.content"]  # Prefect's page has the same text
    assert "without a champion" in note.replace("\\", "")
    assert "not applicable" in note
    (entry,) = Ledger(client, "churn").entries()
    assert entry.decision.facts["passed"]
    assert "champion" not in {name for name, value in entry.decision.facts.items() if value is not None}
    assert not decide(fitted(), TEST, "target", against="churn@champion", rules=[AtLeast("accuracy", 1.0)])
    assert [each.decision.facts["passed"] for each in Ledger(client, "churn").entries()] == [True, False]


def test_a_candidate_is_named_in_many_ways(champion):
    """A version, its number, its alias, its address, MLflow's own object, a loaded model and its id are the same."""
    version = champion.get_model_version_by_alias("churn", "champion")
    loaded = mlflow.pyfunc.load_model("models:/churn/1")
    model_id = loaded.model_id
    ways = ["churn/1", 1, "1", "churn@champion", "models:/churn/1", version, f"models:/{model_id}", model_id]
    for way in [*ways, champion.get_logged_model(model_id), loaded]:
        verdict = decide(way, TEST, "target", against="churn@champion", rules=[NotWorse("roc_auc")])
        assert (bool(verdict), verdict.candidate, verdict.champion) == (True, "1", "1"), way
        assert verdict.results[0].interval == (0.0, 0.0)
    alone = decide(model_id, TEST, "target", rules=[AtLeast("roc_auc", 0.5)])
    assert (alone.model, alone.candidate, alone.champion) == ("churn", "1", None)
    versions = {entry.decision.version for entry in gates_of(champion)}
    assert versions == {"1"}


@pytest.mark.slow
def test_two_models_that_are_not_registered_leave_no_entry(client):
    """The gate decides between two objects, and keeps the evidence on its run alone."""
    verdict = decide(fitted(30), TEST, "target", against=fitted(1), rules=[Better("roc_auc"), Better("log_loss")])
    assert verdict
    assert (verdict.model, verdict.candidate, verdict.champion) == (None, None, None)
    assert not decide(fitted(1), TEST, "target", against=fitted(30), rules=[Better("roc_auc")])
    experiment = client.get_experiment_by_name("flowml registry")
    assert {run.info.experiment_id for run in runs_of(client, "gate")} == {experiment.experiment_id}
    assert client.search_runs([experiment.experiment_id], "tags.`flowml.kind` = 'ledger'") == []


@pytest.mark.parametrize(
    "change, message",
    [
        ({"target": "targett"}, "no column 'targett'.*Did you mean 'target'"),
        ({"data": TEST.iloc[:0]}, "no rows"),
        ({"data": TEST.assign(target=None)}, "missing in 284 of 284 rows"),
        ({"data": TEST.drop(columns="mean_area")}, "candidate takes the column 'mean_area'.*Did you mean"),
        ({"data": TEST.assign(mean_area="large")}, "cannot predict these rows"),
        ({"data": TEST[TEST["target"] == 1]}, "roc_auc says nothing on the .* rows: all are of the class 1"),
        ({"rules": [Better("roc_acu")]}, "metric 'roc_acu'. Did you mean 'roc_auc'"),
        ({"rules": [Better("neg_log_loss")]}, "Write 'log_loss' for 'neg_log_loss'"),
        ({"rules": [AtMost("r2_score", 1, where="mean_areas > 3")]}, "Did you mean 'mean_area'"),
        ({"rules": [AtLeast("accuracy", 0, where="mean_area < 0")]}, "selects none of the 284 rows"),
        ({"rules": [AtLeast("accuracy", 0, where="mean_area")]}, "says of no row whether it is meant"),
        ({"rules": [AtLeast("cost", 0)], "metrics": {"cost": lambda _, __: float("nan")}}, "cost of .* is nan"),
        ({"rules": [AtLeast("cost", 0)], "metrics": {"cost": lambda _, __: 1 / 0}}, "cost .* ZeroDivisionError"),
        ({"candidate": LinearSVC().fit(*[TRAIN.drop(columns="target"), TRAIN["target"]])}, "has no predict_proba"),
        ({"candidate": "churn/7"}, "There is no registered model 'churn'"),
        ({"candidate": "models:/m-0"}, "There is no logged model 'm-0'"),
        ({"candidate": 7}, "a version of which model"),
        ({"candidate": object()}, "has no predict"),
        ({"against": "churn/7"}, "There is no registered model 'churn'"),
        ({"against": "churn"}, "without an alias or a version"),
    ],
)
def test_what_cannot_be_decided_is_an_error(client, change, message):
    """A wrong column, row, metric or model is named, with the nearest that there is, and nothing is decided."""
    given = {"candidate": fitted(), "data": TEST, "target": "target", "rules": [Better("roc_auc"), Better("log_loss")]}
    with pytest.raises(RegistryError, match=message):
        decide(**given | {"against": fitted(1)} | change)
    assert [run.data.tags.get("flowml.gate") for run in runs_of(client, "gate")] == [None]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rules": []}, "asks nothing"),
        ({"rules": Better("roc_auc")}, "takes a list of AtLeast"),
        ({"rules": ["roc_auc"]}, "not 'roc_auc'"),
        ({"data": [1, 2]}, "takes a pandas frame"),
        ({"metrics": {"cost": 3}}, "takes functions by name"),
        ({"resamples": 10}, "a whole number from 100"),
    ],
)
def test_arguments_of_a_wrong_type_are_refused(client, change, message):
    """An argument that the gate cannot use is named, with what it takes."""
    with pytest.raises((TypeError, ValueError), match=message):
        decide(**{"candidate": fitted(), "data": TEST, "target": "target", "rules": ABSOLUTE} | change)


def test_a_champion_that_cannot_be_loaded_is_no_pass(champion):
    """Where its files are gone, the gate says what to do, and decides nothing."""
    (made,) = run_of(champion, "register").outputs.model_outputs
    shutil.rmtree(champion.get_logged_model(made.model_id).artifact_location.removeprefix("file://"))
    with pytest.raises(RegistryError, match=r"champion churn/1 cannot be loaded.*nothing was decided.*restore"):
        decide(fitted(), TEST, "target", against="churn@champion", rules=ABSOLUTE)
    assert gates_of(champion) == []


def test_a_rule_may_be_about_some_rows(client):
    """Both are measured on the rows that the query selects, and the note shows the query as it is."""
    where = "mean_area > 500 | mean_area < 200"
    verdict = decide(
        fitted(), TEST, "target", against=fitted(1), rules=[NotWorse("recall", tolerance=0.01, where=where)]
    )
    (result,) = verdict.results
    rows = TEST.query(where)
    model, X = fitted(), rows.drop(columns="target")
    assert result.rows == len(rows) < len(TEST)
    assert result.candidate == (model.predict(X) & rows["target"]).sum() / rows["target"].sum()
    run = run_of(client, "gate")
    assert "mean&#95;area" not in run.data.tags["mlflow.note.content"]
    assert "500 &#124; mean_area &lt; 200" in run.data.tags["mlflow.note.content"].replace("&#60;", "&lt;")
    assert "recall where mean_area _ 500 _ mean_area _ 200" in run.data.metrics


def test_metrics_of_ones_own(client):
    """A function gets predictions, and probabilities if it takes them; the user says that a lower value is better."""

    def cost(truth: Any, predicted: Any) -> float:
        return float((truth != predicted).sum())

    def mean_of_second(truth: Any, _: Any, y_proba: Any) -> float:
        assert y_proba.shape == (len(truth), 2)
        return float(y_proba[:, 1].mean())

    own = {"cost": OwnMetric(cost, higher_is_better=False), "share": mean_of_second}
    rules = [Better("cost", by=1), AtMost("cost", 20), AtLeast("share", 0.5)]
    verdict = decide(fitted(), TEST, "target", against=fitted(1), rules=rules, metrics=own)
    assert verdict, str(verdict)
    assert verdict.results[0].difference < 0


@pytest.mark.slow
def test_models_of_numbers_texts_and_many_classes(client):
    """Regression, text as classes, and more than two classes are measured as scikit-learn does."""
    numbers = load_diabetes(as_frame=True).frame
    X = numbers.drop(columns="target")
    wide, narrow = (LinearRegression().fit(X.iloc[:, :n], numbers["target"]) for n in (10, 1))
    rules = [Better("r2"), Better("rmse", by=1), AtMost("mean_absolute_error", 50), Significant("mse")]
    assert decide(wide, numbers, "target", against=narrow, rules=rules)
    texts = FRAME.assign(target=FRAME["target"].map({0: "no", 1: "yes"}))
    one, two = fitted(30, texts), fitted(1, texts)
    rules = [Better(name) for name in ("f1", "average_precision", "brier_score", "log_loss", "matthews_corrcoef")]
    assert decide(one, texts, "target", against=two, rules=rules)
    many = FRAME.assign(target=FRAME["mean_area"].rank(pct=True).mul(2.99).astype(int))
    most = DummyClassifier().fit(many.drop(columns="target"), many["target"])
    rules = [Better(name) for name in ("f1_macro", "roc_auc_ovr", "log_loss", "accuracy")]
    assert decide(fitted(30, many), many, "target", against=most, rules=rules)
    with pytest.raises(
        RegistryError, match=r"recall is about two classes, and here are 3 classes .* Take recall_macro"
    ):
        decide(most, many, "target", rules=[AtLeast("recall", 0.5)])
    ranked = LinearSVC().fit(FRAME.drop(columns="target"), FRAME["target"])
    assert decide(ranked, FRAME, "target", rules=[AtLeast("roc_auc", 0.9)])


def test_a_model_that_knows_fewer_classes_is_compared(client):
    """A class that one of them was never shown has no probability with it, and the other is better."""
    many = FRAME.assign(target=FRAME["mean_area"].rank(pct=True).mul(2.99).astype(int))
    two = fitted(30, many[many["target"] < 2])
    assert decide(fitted(30, many), many, "target", against=two, rules=[Better("log_loss"), Better("accuracy")])


def test_an_async_flow_waits_for_the_gate(client):
    """In an async flow, and in one whose children have no runs, the gate has its run all the same."""

    @flow(track=Track(children="none"))
    async def deciding() -> Any:
        return decide(fitted(), TEST, "target", against="churn@champion", rules=ABSOLUTE)

    verdict = asyncio.run(deciding())
    assert verdict
    assert client.get_run(verdict.run_id).data.tags["flowml.gate"] == "passed"
    assert len(Ledger(client, "churn").entries()) == 1


def test_where_nothing_is_tracked_nothing_is_kept(client, caplog):
    """Inside `disabled` the gate decides, and says that nobody will find it."""
    with disabled():
        verdict = decide(fitted(), TEST, "target", against="churn@champion", rules=ABSOLUTE)
    assert verdict
    assert verdict.run_id is None
    assert "not tracked here" in caplog.text
    assert runs_of(client, "gate") == Ledger(client, "churn").entries() == []


def test_a_task_that_is_tried_again_decides_once(client):
    """What an earlier attempt decided stands: there is one entry, and the verdict with its evidence is read again."""
    verdicts = []

    @task(retries=1)
    def deciding_task() -> None:
        verdicts.append(gate.fn(fitted(), TEST, "target", against="churn@champion", rules=ABSOLUTE))
        if len(verdicts) == 1:
            raise ConnectionError

    @flow
    def deciding() -> None:
        deciding_task()

    deciding()
    assert len(Ledger(client, "churn").entries()) == 1
    assert verdicts[0] == verdicts[1]
    assert pickle.loads(pickle.dumps(verdicts[0])) == verdicts[0]


def test_the_same_gives_the_same_evidence(client):
    """Two gates on the same rows have the same digest, whenever and wherever they are."""
    rules = [Significant("roc_auc"), Better("log_loss")]
    one, two = (decide(fitted(), TEST, "target", against=fitted(1), rules=rules) for _ in range(2))
    assert one.digest == two.digest != digest_of("")
    assert one.run_id != two.run_id
