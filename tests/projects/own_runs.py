"""What the runs hold that a program opened itself, in a form that compares between two stores."""

from __future__ import annotations

import re
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

ID = r"m-[0-9a-f]{32}|[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"
RANDOM_NAME = r"[a-z]+-[a-z]+-\d{1,3}"


def own_runs(uri: str) -> list[dict[str, Any]]:
    """Return the content of each run in a store that flowml did not open, deleted ones too, in an order of its own.

    Args:
        uri: The store's tracking URI.
    """
    client = MlflowClient(uri, registry_uri=uri)
    names = {found.experiment_id: found.name for found in client.search_experiments(view_type=ViewType.ALL)}
    found = client.search_runs(list(names), run_view_type=ViewType.ALL, max_results=5000)
    own = {run.info.run_id: run for run in found if "flowml.kind" not in run.data.tags}
    logged = client.search_logged_models(list(names), max_results=100)  # without the deleted ones
    models = {model.model_id: f"{model.name} {model.status}" for model in logged}
    contents = [
        _content(client, run, own)
        | {"experiment": names[run.info.experiment_id]}
        | {"models": sorted(models.get(output.model_id, "deleted") for output in run.outputs.model_outputs)}
        for run in own.values()
    ]
    return sorted(contents, key=repr)


def masked(value: Any) -> Any:
    """Replace what differs from time to time: ids, and the names that MLflow makes up for runs."""
    if isinstance(value, dict):
        return {masked(key): masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    if isinstance(value, str):
        return re.sub(rf"^{RANDOM_NAME}$", "<random name>", re.sub(ID, "<id>", value))
    return value


def _content(client: MlflowClient, run: Run, own: dict[str, Run]) -> dict[str, Any]:
    run_id, tags = run.info.run_id, run.data.tags
    above = own.get(tags.get("mlflow.parentRunId", ""))
    return masked(
        {
            "name": run.info.run_name,
            "status": run.info.status,
            "stage": run.info.lifecycle_stage,
            "params": run.data.params,
            "metrics": {name: _history(client, run_id, name) for name in sorted(run.data.metrics)},
            "tags": {
                name: value
                for name, value in sorted(tags.items())
                if not name.startswith(("mlflow.", "flowml.", "prefect."))
            },
            "description": tags.get("mlflow.note.content"),
            "below": above and above.info.run_name,
            "artifacts": sorted(_files(client, run_id, "")),
            "datasets": len(run.inputs.dataset_inputs),
        }
    )


def _history(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    return sorted((point.step, round(point.value, 6)) for point in client.get_metric_history(run_id, name))


def _files(client: MlflowClient, run_id: str, folder: str) -> list[str]:
    files = []
    for item in client.list_artifacts(run_id, folder):
        files += _files(client, run_id, item.path) if item.is_dir else [item.path]
    return files
