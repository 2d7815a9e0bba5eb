"""Reading back what a test left in MLflow."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities import Run


def all_runs(client: MlflowClient) -> list[Run]:
    """Return every run of the store, oldest first; not the ledgers of registered models."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, order_by=["attributes.start_time ASC"], max_results=5000)
    return [run for run in found if run.data.tags.get("flowml.kind") != "ledger"]


def flow_run(client: MlflowClient) -> Run:
    """Return the one run without a parent."""
    (found,) = [run for run in all_runs(client) if "mlflow.parentRunId" not in run.data.tags]
    return found


def runs_of(client: MlflowClient, name: str) -> list[Run]:
    """Return the runs of a task, or of a flow, by its name."""

    def owner(run: Run) -> str | None:
        tags = run.data.tags
        if "flowml.kind" not in tags:
            return None  # opened by hand
        return tags.get("prefect.task_name") or tags.get("prefect.flow_name")

    return [run for run in all_runs(client) if owner(run) == name]


def run_of(client: MlflowClient, name: str) -> Run:
    """Return the one run of a task or flow."""
    (found,) = runs_of(client, name)
    return found


def parent_of(run: Run) -> str | None:
    """Return the id of a run's parent."""
    parent: str | None = run.data.tags.get("mlflow.parentRunId")
    return parent
