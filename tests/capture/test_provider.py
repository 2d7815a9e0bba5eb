"""Runs that the user opens by hand inside Prefect's own flows and tasks, which flowml does not track."""

from __future__ import annotations

import mlflow
import prefect
from mlflow import MlflowClient
from prefect.settings import PREFECT_UI_URL, temporary_settings
from tests.runs import all_runs


def test_a_run_by_hand_in_plain_prefect_leads_back_to_it(client: MlflowClient) -> None:
    """In an undecorated flow and task, ``mlflow.start_run`` gets Prefect's ids and pages, and flowml opens nothing."""
    ids: dict[str, str] = {}

    @prefect.task
    def fit() -> None:
        ids["prefect.task_run_id"] = str(prefect.runtime.task_run.id)
        with mlflow.start_run(run_name="in the task"):
            mlflow.log_metric("loss", 0.5)

    @prefect.flow(name="plain")
    def pipeline() -> None:
        ids["prefect.flow_run_id"] = str(prefect.runtime.flow_run.id)
        with mlflow.start_run(run_name="in the flow"):
            pass
        fit()

    with temporary_settings({PREFECT_UI_URL: "http://prefect.example"}):
        pipeline()
    with mlflow.start_run(run_name="outside"):
        pass
    runs = {run.info.run_name: run.data for run in all_runs(client)}
    assert runs.keys() == {"in the flow", "in the task", "outside"}
    for name in ("in the flow", "in the task"):
        tags = runs[name].tags
        assert tags["prefect.flow_run_id"] == ids["prefect.flow_run_id"]
        assert tags["prefect.flow_name"] == "plain"
        assert tags["prefect.flow_run_url"].startswith("http://prefect.example/runs/flow-run/")
        assert tags["prefect.flow_run_url"].endswith(ids["prefect.flow_run_id"])
        assert not [tag for tag in tags if tag.startswith("flowml.")]
    task = runs["in the task"].tags
    assert (task["prefect.task_run_id"], task["prefect.task_name"]) == (ids["prefect.task_run_id"], "fit")
    assert task["prefect.task_run_url"].endswith(ids["prefect.task_run_id"])
    assert "prefect.task_run_id" not in runs["in the flow"].tags
    assert runs["in the task"].metrics == {"loss": 0.5}
    assert not [tag for tag in runs["outside"].tags if tag.startswith("prefect.")]
