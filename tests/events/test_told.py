"""What flowml tells Prefect's server of: finished runs, models, limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.states import Crashed
from sklearn.linear_model import LogisticRegression
from tests.ends.processes import child, until
from tests.events.conftest import Heard
from tests.runs import run_of

from flowml import Dataset, Model, OnDataset, OnMetric, OnPromptPromoted, flow, promote, settings, task
from flowml.capture.engine.hooks import close_tracked_runs


def fitted() -> LogisticRegression:
    """Fit something small."""
    return LogisticRegression().fit(np.arange(10).reshape(-1, 1), np.arange(10) % 2)


@task
def evaluate(auc: float) -> dict[str, float]:
    """Say how good it is."""
    return {"auc": auc}


@flow
def monitoring(auc: float) -> None:
    """Look how good it is."""
    evaluate(auc)


def test_a_finished_flow_is_told(client: MlflowClient, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    """One event for each flow run, with its MLflow run as the resource, its flow run related, and links to both."""
    monkeypatch.setenv("FLOWML_MLFLOW_UI_URL", "http://mlflow.example")
    settings.reload()
    flow_run_id = monitoring(0.5, return_state=True).state_details.flow_run_id
    (event,) = heard("flowml.run.finished")
    run = run_of(client, "monitoring")
    assert event.resource.id == f"mlflow.run.{run.info.run_id}"
    assert event.resource["flowml.status"] == "FINISHED"
    assert event.resource["flowml.flow"] == "monitoring"
    assert f"prefect.flow-run.{flow_run_id}" in {related.id for related in event.related}
    assert event.payload["run_id"] == run.info.run_id
    page = f"http://mlflow.example/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    assert event.payload["run_url"] == f"{page}?workflowType=machine_learning"
    assert str(flow_run_id) in event.payload["flow_run_url"]


def test_a_failed_flow_is_told(client: MlflowClient, heard: Heard) -> None:
    """Its status says so, and its metrics are not judged."""

    @flow
    def fails() -> None:
        raise ValueError("no")

    fails(return_state=True)
    (event,) = heard("flowml.run.finished")
    assert event.resource["flowml.status"] == "FAILED"


def test_a_model_is_told_of_when_it_is_there(client: MlflowClient, heard: Heard) -> None:
    """Logged, registered and promoted are three events; the version that they name exists."""

    @task
    def fit() -> Annotated[LogisticRegression, Model(register="churn", alias="champion")]:
        return fitted()

    @flow
    def training() -> None:
        fit()

    training()
    (logged,), (registered,), (promoted,) = (
        heard(f"flowml.model.{what}") for what in ("logged", "registered", "promoted")
    )
    version = client.get_model_version_by_alias("churn", "champion")
    assert logged.resource.id == f"mlflow.model.{logged.payload['model_id']}"
    assert client.get_logged_model(logged.payload["model_id"]).source_run_id == version.run_id
    assert registered.resource.id == promoted.resource.id == "flowml.model.churn"
    assert (promoted.resource["flowml.alias"], promoted.resource["flowml.version"]) == (
        "champion",
        str(version.version),
    )
    assert promoted.payload["model_uri"] == f"models:/churn/{version.version}"
    assert promoted.payload["run_id"] == run_of(client, "fit").info.run_id


def test_a_metric_beyond_a_limit_is_told(client: MlflowClient, heard: Heard, automation: Callable[..., None]) -> None:
    """Of two limits on one metric only that which it is beyond is told, with its value."""
    automation(OnMetric("evaluate.auc", below=0.9))
    automation(OnMetric("evaluate.auc", below=0.4))
    automation(OnMetric("evaluate.auc", above=0.3, flow="another"))
    automation(OnMetric("no.such", below=0.9))
    for auc in (0.5, 0.95, 0.6):  # they are judged in order: when the last is told, the one before it was not
        monitoring(auc)
    finished, _, last = heard("flowml.run.finished", 3)
    breach, other = heard("flowml.metric.breached", 2)
    assert other.payload["run_id"] == last.payload["run_id"]
    assert breach.resource.id == "flowml.metric.evaluate.auc"
    assert breach.resource["flowml.limit"] == "below 0.9"
    assert breach.resource["flowml.deployment"] == "none"
    assert breach.payload["value"] == 0.5
    assert breach.payload["run_id"] == finished.payload["run_id"]


def test_a_cost_beyond_a_limit_is_told(
    client: MlflowClient, project: Path, heard: Heard, automation: Callable[..., None]
) -> None:
    """What a flow's language models cost is a metric like another: a deployment can be told of it."""
    (project / "pyproject.toml").write_text("[tool.flowml.prices]\nsmall = { input = 2, output = 8 }\n")
    automation(OnMetric("cost_usd", above=0.5))

    @task
    def ask(thousands: int) -> None:
        with mlflow.start_span("llm") as span:
            used = {"input_tokens": 1000 * thousands, "output_tokens": 0, "total_tokens": 1000 * thousands}
            span.set_attributes({"mlflow.chat.tokenUsage": used, "mlflow.llm.model": "small"})

    @flow
    def asking(thousands: int) -> None:
        ask(thousands)

    asking(200)
    asking(400)
    (breach,) = heard("flowml.metric.breached")
    assert breach.payload["value"] == 0.8


SCRIPT = """
from flowml import flow, task

@task
def evaluate() -> dict[str, float]:
    return {"auc": 0.5}

@flow
def monitoring() -> None:
    evaluate()

monitoring()
"""


@pytest.mark.e2e
@pytest.mark.slow
def test_a_process_that_ends_at_once_has_told(
    client: MlflowClient,
    heard: Heard,
    automation: Callable[..., None],
    project: Path,
    environment: Mapping[str, str],
) -> None:
    """A flow is judged in the background; the end of its process waits for that."""
    automation(OnMetric("evaluate.auc", below=0.9))
    (project / "script.py").write_text(SCRIPT)
    log = project / "script.log"
    with child("script.py", log=log, environment=environment, folder=project) as process:
        assert process.wait(60) == 0
    (breach,) = heard("flowml.metric.breached")
    assert breach.payload["value"] == 0.5
    assert "Error emitting" not in log.read_text()


def test_what_is_not_a_number_is_beyond_every_limit(
    client: MlflowClient, heard: Heard, automation: Callable[..., None]
) -> None:
    """A metric that became NaN is told as a breach."""
    automation(OnMetric("evaluate.auc", below=0.1, above=0.9))
    monitoring(float("nan"))
    (breach,) = heard("flowml.metric.breached")
    assert breach.payload["value"] == "nan"
    assert breach.resource["flowml.limit"] == "below 0.1 or above 0.9"


@flow
def ingest(mean: float, seed: int) -> Annotated[pd.DataFrame, Dataset("sales", profile=True)]:
    """Make rows of which the mean is known."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"price": rng.normal(mean, 1, 2000), "shop": rng.integers(0, 3, 2000)})


def test_a_dataset_that_drifted_is_told(client: MlflowClient, heard: Heard, automation: Callable[..., None]) -> None:
    """Other rows of the same kind have changed, but not drifted; a shifted column has."""
    automation(OnDataset("sales"))
    automation(OnDataset("sales", changed=True))
    ingest(0.0, 1)
    ingest(0.0, 2)
    ingest(1.0, 3)
    heard("flowml.run.finished", 3)
    (drifted,) = heard("flowml.dataset.drifted")
    assert drifted.payload["column"] == "price"
    assert drifted.payload["drift"] > 0.5
    assert len(heard("flowml.dataset.changed", 2)) == 2


def test_the_same_dataset_is_not_told(client: MlflowClient, heard: Heard, automation: Callable[..., None]) -> None:
    """A run that logs the same content again says nothing of it."""
    automation(OnDataset("sales", changed=True))
    ingest(0.0, 1)
    ingest(0.0, 1)
    ingest(0.0, 2)
    last = heard("flowml.run.finished", 3)[-1]
    (changed,) = heard("flowml.dataset.changed")
    assert changed.payload["run_id"] == last.payload["run_id"]


def test_a_dataset_without_percentiles_is_said(
    client: MlflowClient, heard: Heard, automation: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """Where a drift cannot be seen the log says what to annotate."""

    @flow
    def plain(seed: int) -> Annotated[pd.DataFrame, Dataset("sales")]:
        return pd.DataFrame({"price": np.random.default_rng(seed).normal(0, 1, 100)})

    automation(OnDataset("sales"))
    plain(1)
    plain(2)
    until(lambda: "Dataset('sales', profile=True)" in caplog.text, "the log says it")


def test_nothing_is_told_where_events_are_off(
    client: MlflowClient, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting ``events`` turns them off: of two flows the one with it on is heard."""
    monkeypatch.setenv("FLOWML_EVENTS", "false")
    monitoring(0.5)
    monkeypatch.setenv("FLOWML_EVENTS", "true")
    settings.reload()
    monitoring(0.6)
    (event,) = heard("flowml.run.finished")
    assert client.get_run(event.payload["run_id"]).data.params["auc"] == "0.6"


@pytest.mark.parametrize("profiled", ["pandas", "polars", "arrow"])
def test_the_percentiles_are_those_of_the_numbers(client: MlflowClient, profiled: str) -> None:
    """Tables of each library log the same percentiles, of numeric columns alone, and how much is missing."""
    import json

    import polars as pl
    import pyarrow as pa

    frame = pd.DataFrame({"n": [float(number) for number in range(100)] + [None], "word": ["x"] * 101})
    made: Any = {"pandas": frame, "polars": pl.from_pandas(frame), "arrow": pa.Table.from_pandas(frame)}[profiled]

    @flow
    def makes() -> Annotated[Any, Dataset("table", profile=True)]:
        return made

    makes()
    (given,) = run_of(client, "makes").inputs.dataset_inputs
    distribution = json.loads(given.dataset.profile)["distribution"]
    assert list(distribution) == ["n"]
    assert distribution["n"]["percentiles"][::25] == [0, 25, 50, 74, 99]
    assert distribution["n"]["missing"] == pytest.approx(1 / 101, abs=1e-6)


DYING = """
import os
import flowml

@flowml.flow
def dying() -> None:
    flowml.flush()
    os._exit(9)

dying()
"""


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("by", ["flowml reap", "Prefect's runner"])
def test_a_run_that_others_close_is_told(
    client: MlflowClient, heard: Heard, environment: Mapping[str, str], tmp_path: Path, by: str
) -> None:
    """A flow whose process died is told of when its run is closed for it, once."""
    with child("-c", DYING, log=tmp_path / "dying.log", environment=environment) as process:
        process.wait(60)
    run = run_of(client, "dying")
    assert run.info.status == "RUNNING"
    flow_run_id = UUID(run.data.tags["prefect.flow_run_id"])
    with get_client(sync_client=True) as prefect:
        prefect.set_flow_run_state(flow_run_id, Crashed(), force=True)
        flow_run = prefect.read_flow_run(flow_run_id)
    if by == "flowml reap":
        with child(
            "-m", "flowml.cli.app", "reap", "--grace", "0s", log=tmp_path / "reap.log", environment=environment
        ) as reap:
            assert reap.wait(60) == 0
    else:
        close_tracked_runs(monitoring, flow_run, flow_run.state)
    (event,) = heard("flowml.run.finished")
    assert event.resource.id == f"mlflow.run.{run.info.run_id}"
    assert (event.resource["flowml.status"], event.resource["flowml.flow"]) == ("FAILED", "dying")
    assert f"prefect.flow-run.{flow_run_id}" in {related.id for related in event.related}


def test_a_promoted_prompt_is_told(client: MlflowClient, heard: Heard) -> None:
    """One event says which version of the prompt has which alias, as `OnPromptPromoted` waits for it."""
    client.register_prompt("summarize", "Summarize {{text}}")

    @flow
    def releasing() -> None:
        promote("prompts:/summarize/1", to="production")

    releasing()
    (event,) = heard("flowml.prompt.promoted")
    assert OnPromptPromoted("summarize").automation_trigger().match.matches(event.resource)
    assert not OnPromptPromoted("summarize", alias="other").automation_trigger().match.matches(event.resource)
    assert event.payload["prompt_uri"] == "prompts:/summarize/1"
