"""What a run has to send as MLflow's own entities, in as few calls as its limits allow.

Each function takes away what it has sent, so that after a failure only the rest is sent again.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flowml import records
from flowml.store import models
from flowml.store.trouble import may_pass

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModelInput

    from flowml.store.outgoing import Outgoing

T = TypeVar("T")

# MLflow's limits for one request: mlflow/utils/validation.py
_PARAMS = _TAGS = 100
_METRICS = 800  # with 100 of each of the others it is the limit of 1,000 for all
_TAG_VALUE = 8000


def tags_of(tags: Mapping[str, Any]) -> dict[str, str]:
    """Return tags cut to what MLflow takes."""
    return {key[:250]: str(value)[:_TAG_VALUE] for key, value in tags.items()}


def send_batch(client: MlflowClient, run_id: str, out: Outgoing, *, with_params: bool) -> None:
    """Send metrics and tags, and parameters too if it is time for them."""
    from mlflow.entities import Metric, Param, RunTag

    out.tags = tags_of(out.tags)
    while out.metrics or out.tags or (with_params and out.params):
        metrics, tags = out.metrics[:_METRICS], list(out.tags.items())[:_TAGS]
        params = list(out.params.items())[:_PARAMS] if with_params else []
        sent_metrics = [Metric(metric.key, metric.value, taken, metric.step) for metric, taken in metrics]
        sent_params, sent_tags = [Param(*param) for param in params], [RunTag(*tag) for tag in tags]
        try:
            client.log_batch(run_id, metrics=sent_metrics, params=sent_params, tags=sent_tags)
        except Exception as error:
            if may_pass(error) or not params:
                raise
            # One of the parameters is there with another value, logged by the user: theirs stays.
            client.log_batch(run_id, metrics=sent_metrics, tags=sent_tags)
            _send_those_that_fit(client, run_id, sent_params)
        del out.metrics[: len(metrics)]
        for key, _ in tags:
            del out.tags[key]
        for key, _ in params:
            del out.params[key]


def _send_those_that_fit(client: MlflowClient, run_id: str, params: Sequence[Any]) -> None:
    there = client.get_run(run_id).data.params
    fitting = [param for param in params if param.key not in there]
    if fitting:
        client.log_batch(run_id, params=fitting)


def send_inputs(client: MlflowClient, run_id: str, out: Outgoing) -> None:
    """Send the datasets that the run read or made, and the models it was given."""
    from mlflow.entities import LoggedModelInput

    datasets = [_dataset_input(run_id, record) for record in out.inputs if isinstance(record, records.Dataset)]
    ids = {models.model_id_of(record.value) for record in out.inputs if isinstance(record, records.ModelInput)}
    linked: list[LoggedModelInput] = [LoggedModelInput(model_id) for model_id in sorted(filter(None, ids))]
    if datasets or linked:
        client.log_inputs(run_id, datasets=datasets, models=linked or None)
    out.inputs.clear()


def _dataset_input(run_id: str, record: records.Dataset) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = {"tags": {"mlflow.source.type": record.kind, "flowml.run_id": run_id}}
    dataset = Dataset(
        name=record.name[:500],
        digest=record.digest,
        source_type="code",
        source=json.dumps(source),
        schema=json.dumps(record.schema),
        profile=json.dumps(record.profile),
    )
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", record.role)])


def send_files(client: MlflowClient, run_id: str, out: Outgoing) -> None:
    """Upload the files, small ones together."""
    with tempfile.TemporaryDirectory(prefix="flowml-") as folder:
        for record in out.files:
            match record:
                case records.Text(path, text):
                    _place(folder, path).write_text(text, encoding="utf-8", errors="replace")
                case records.Blob(path, data):
                    _place(folder, path).write_bytes(data)
                case records.File(path, source) if source.is_dir():
                    shutil.copytree(source, Path(folder, path, source.name), dirs_exist_ok=True)
                case records.File(path, source):
                    client.log_artifact(run_id, str(source), path or None)
        if any(Path(folder).iterdir()):
            client.log_artifacts(run_id, folder)
    out.files.clear()


def send_models(client: MlflowClient, run_id: str, out: Outgoing, experiment_id: str) -> None:
    """Log the models."""
    while out.models:
        models.send(client, out.models[0], run_id=run_id, experiment_id=experiment_id)
        del out.models[0]


def _place(folder: str, path: str) -> Path:
    place = Path(folder, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place
