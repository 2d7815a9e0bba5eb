"""Records as MLflow's own entities, in as few calls as its limits allow."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from flowml import records
from flowml.store import models

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModelInput

T = TypeVar("T")
Sendable: TypeAlias = "records.Record | models.SavedModel"

# MLflow's limits for one request: mlflow/utils/validation.py
_PARAMS = _TAGS = 100
_METRICS = 1000
_ITEMS = 1000
_TAG_VALUE = 8000


def tags_of(tags: Mapping[str, Any]) -> dict[str, str]:
    """Return tags cut to what MLflow takes."""
    return {key[:250]: str(value)[:_TAG_VALUE] for key, value in tags.items()}


def is_upload(record: Sendable) -> bool:
    """Tell whether sending it may take long."""
    return isinstance(record, models.SavedModel | records.File | records.Blob)


def send(client: MlflowClient, run_id: str, experiment_id: str, found: Sequence[Sendable]) -> None:
    """Log a run's records: the small ones in one batch, datasets in one call, files in one upload, then models."""
    _send_batch(client, run_id, found)
    _send_inputs(client, run_id, found)
    _send_files(client, run_id, found)
    for model in found:
        if isinstance(model, models.SavedModel):
            models.send(client, model, run_id=run_id, experiment_id=experiment_id)


def _send_batch(client: MlflowClient, run_id: str, found: Iterable[Any]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    now = time.time_ns() // 1_000_000
    params: dict[str, Param] = {}
    tags: dict[str, RunTag] = {}
    metrics: list[Metric] = []
    for record in found:
        match record:
            case records.Param(key, value):
                params[key] = Param(key, value)
            case records.Tag(key, value):
                tags[key] = RunTag(key, value[:_TAG_VALUE])
            case records.Metric(key, number, step):
                metrics.append(Metric(key, number, now, step))
    cuts: list[list[list[Any]]] = [
        _cut(list(params.values()), _PARAMS),
        _cut(list(tags.values()), _TAGS),
        _cut(metrics, _METRICS),
    ]
    for some_params, some_tags, some_metrics in _together(cuts):
        room = _ITEMS - len(some_params) - len(some_tags)
        client.log_batch(run_id, metrics=some_metrics[:room], params=some_params, tags=some_tags)
        if some_metrics[room:]:
            client.log_batch(run_id, metrics=some_metrics[room:])


def _send_inputs(client: MlflowClient, run_id: str, found: Iterable[Any]) -> None:
    from mlflow.entities import LoggedModelInput

    datasets = [_dataset_input(run_id, record) for record in found if isinstance(record, records.Dataset)]
    ids = {models.model_id_of(record.value) for record in found if isinstance(record, records.ModelInput)}
    linked: list[LoggedModelInput] = [LoggedModelInput(model_id) for model_id in sorted(filter(None, ids))]
    if datasets or linked:
        client.log_inputs(run_id, datasets=datasets, models=linked or None)


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


def _send_files(client: MlflowClient, run_id: str, found: Iterable[Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="flowml-") as folder:
        for record in found:
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


def _place(folder: str, path: str) -> Path:
    place = Path(folder, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _cut(items: list[T], size: int) -> list[list[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _together(cuts: list[list[list[Any]]]) -> Iterator[list[list[Any]]]:
    """Pair the first part of each kind, then the second, and so on."""
    for index in range(max(map(len, cuts))):
        yield [parts[index] if index < len(parts) else [] for parts in cuts]
