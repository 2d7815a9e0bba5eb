"""What a run has to send as MLflow's own entities, in as few calls as its limits allow.

Each function takes away what it has sent, so that after a failure only the rest is sent again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flowml import mlflow_limits, records
from flowml.errors import TrackingError
from flowml.storable import clean
from flowml.store import tracing
from flowml.store.backend import dataset_sources
from flowml.store.backend.connection import deleted_experiment
from flowml.store.backend.retrying import may_pass
from flowml.store.flow_end import cached
from flowml.store.models import identity, log_model
from flowml.store.models.identity import Serialized
from flowml.store.waiting import journaled
from flowml.store.waiting.intake import enqueue
from flowml.store.waiting.queue import Outgoing, Taken, alive_here

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModelInput, Metric, Param, RunTag
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

    from flowml.store.backend.connection import Connection
    from flowml.store.waiting.queue import Created

_METRICS = mlflow_limits.BATCH - mlflow_limits.BATCH_PARAMS - mlflow_limits.BATCH_TAGS


def tags_of(tags: Mapping[str, Any]) -> dict[str, str]:
    """Return tags with values as MLflow takes them."""
    return {key[: mlflow_limits.KEY]: clean(str(value))[: mlflow_limits.TAG] for key, value in tags.items()}


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes to MLflow in one request; false if it is empty."""

    metrics: list[Metric]
    params: list[Param]
    tags: list[RunTag]

    def __bool__(self) -> bool:
        return bool(self.metrics or self.params or self.tags)


def next_batch(out: Outgoing, *, with_params: bool, uri: str = "") -> Batch:
    """Return the next metrics and tags, and parameters too if it is time for them.

    Args:
        out: The run.
        with_params: Whether it has ended, so that its parameters and what its metrics are about are known.
        uri: The store, in which the model that it evaluated has an id.
    """
    from mlflow.entities import Param, RunTag

    out.tags = tags_of(out.tags)
    params = list(out.params.items())[: mlflow_limits.BATCH_PARAMS] if with_params else []
    return Batch(
        _metrics(out, out.metrics[:_METRICS], out.evaluated.model_id(uri) if with_params else None),
        [Param(key, clean(value)) for key, value in params],
        [RunTag(*tag) for tag in list(out.tags.items())[: mlflow_limits.BATCH_TAGS]],
    )


def _metrics(out: Outgoing, taken: Iterable[tuple[records.Metric, int]], model_id: str | None) -> list[Metric]:
    """Make metrics of MLflow's; of a model those that can be compared: MLflow makes a model's NaN 0.0."""
    from mlflow.entities import Metric

    name, digest = out.evaluated.dataset
    found = []
    for metric, time in taken:
        if model_id and math.isfinite(metric.value) and not metric.key.startswith("system/"):
            found.append(Metric(metric.key, metric.value, time, metric.step, model_id, name, digest))
            out.evaluated.metrics.pop(metric.key, None)
        else:
            found.append(Metric(metric.key, metric.value, time, metric.step))
    return found


def take_away(out: Outgoing, batch: Batch) -> None:
    """Take what was sent from what is left to send."""
    del out.metrics[: len(batch.metrics)]
    for tag in batch.tags:
        del out.tags[tag.key]
    for param in batch.params:
        del out.params[param.key]


def send_batch(client: MlflowClient, run_id: str, out: Outgoing, *, with_params: bool) -> None:
    """Send metrics and tags, and parameters too if it is time for them.

    Raises:
        Exception: What MLflow raises; of what it refuses for good, the first, when all the rest is sent.
    """
    refused: Exception | None = None
    while batch := next_batch(out, with_params=with_params, uri=client.tracking_uri):
        try:
            client.log_batch(run_id, batch.metrics, batch.params, batch.tags)
        except Exception as error:
            if may_pass(error):
                raise
            found = _send_one_by_one(client, out, run_id, batch)
            refused = refused or found
        take_away(out, batch)
    if refused:
        raise refused


def send_to_model(client: MlflowClient, run_id: str, out: Outgoing) -> None:
    """Let the model that a run was given have the metrics that the run sent before it ended, too."""
    model_id, early = out.evaluated.model_id(client.tracking_uri), list(out.evaluated.metrics.values())
    metrics = [metric for metric in _metrics(out, early, model_id) if metric.model_id] if model_id else []
    for start in range(0, len(metrics), mlflow_limits.BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + mlflow_limits.BATCH])


def _send_one_by_one(client: MlflowClient, out: Outgoing, run_id: str, batch: Batch) -> Exception | None:
    """Send what is not refused; a parameter that the user logged keeps the user's value, and is no error."""
    refused: Exception | None = None
    there = client.get_run(run_id).data.params
    for kind in ("metrics", "params", "tags"):
        for entity in getattr(batch, kind):
            if kind == "params" and entity.key in there:
                continue
            alone: dict[str, Any] = {kind: [entity]}
            try:
                client.log_batch(run_id, **alone)
            except Exception as error:
                if may_pass(error) or (refused is None and _stays(client, out, error)):
                    raise
                refused = refused or error
    return refused


def _stays(client: MlflowClient, out: Outgoing, error: Exception) -> bool:
    """Tell whether what failed is to be sent later, before anything of it is taken away.

    Args:
        client: MLflow's client.
        out: The run that it is of.
        error: What was raised.

    Raises:
        TrackingError: If the run's experiment was deleted: MLflow refuses all of it until that is restored.
        Exception: What MLflow raises where it does not answer now.
    """
    if may_pass(error):
        return True
    if out.created.done() and (deleted := deleted_experiment(client, out.created.result(0).info.experiment_id)):
        raise deleted from error
    return False


def send_inputs(client: MlflowClient, run_id: str, out: Outgoing) -> None:
    """Send the datasets that the run read or made, and the models it was given."""
    from mlflow.entities import LoggedModelInput

    datasets = [_dataset_input(run_id, record) for record in out.inputs if isinstance(record, records.Dataset)]
    given = [model for model in out.inputs if isinstance(model, Serialized)]
    for model in given:
        if model.is_restored and client.tracking_uri not in model.ids:
            identity.find(client, model, out.created.result(0).info.experiment_id)
    ids = {model.ids.get(client.tracking_uri) for model in given}
    linked: list[LoggedModelInput] = [LoggedModelInput(model_id) for model_id in sorted(filter(None, ids))]
    with _taking_away(client, out, out.inputs):
        if datasets or linked:
            client.log_inputs(run_id, datasets=datasets, models=linked or None)


def send_prompts(client: MlflowClient, run_id: str, out: Outgoing) -> None:
    """Link the prompts that the run was given; one that is refused keeps no other back."""
    refused: Exception | None = None
    while out.prompts:
        try:
            prompt = client.get_prompt_version(out.prompts[0].name, int(out.prompts[0].version))
            client.link_prompt_version_to_run(run_id, prompt)
        except Exception as error:
            if _stays(client, out, error):
                raise
            refused = refused or error
        del out.prompts[0]
    if refused:
        raise refused


def _dataset_input(run_id: str, record: records.Dataset) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source_type, source = dataset_sources.source_of(record, run_id)
    dataset = Dataset(
        name=record.name[: mlflow_limits.DATASET_NAME],
        digest=record.digest,
        source_type=source_type,
        source=json.dumps(source),
        schema=json.dumps(record.schema),
        profile=json.dumps(record.profile),
    )
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", record.role)])


def send_files(client: MlflowClient, run: Created, out: Outgoing) -> None:
    """Upload the files; what is refused keeps no other back."""
    refused: Exception | None = None
    while out.files:
        try:
            _upload(client, run, str(out.files[0].path))
        except Exception as error:
            if _stays(client, out, error):
                raise
            refused = refused or error
        if out.root and out.new:
            with suppress(OSError):  # such as a full disk: the task's own run has them
                for figure, scratch in out.root.figures.keep(out.new.name, out.files[0].path):
                    journaled.keep_figure(out.root, out.new.name, figure, scratch)
        out.files.pop(0).remove()
    if refused:
        raise refused


def _upload(client: MlflowClient, run: Created, folder: str) -> None:
    place = run.entity.info.artifact_uri if run.entity else None
    if place and not client.tracking_uri.startswith(("databricks", "uc:")):
        _repository(place, client.tracking_uri).log_artifacts(folder)
    else:
        client.log_artifacts(run.info.run_id, folder)


@lru_cache(maxsize=128)
def _repository(place: str, tracking_uri: str) -> ArtifactRepository:
    """Return where a run's files go, kept as MLflow's client does, which asks the server first."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(place, tracking_uri)


def send_models(client: MlflowClient, run_id: str, out: Outgoing, experiment_id: str) -> None:
    """Log the models; one that is refused keeps no other back."""
    refused: Exception | None = None
    while out.models:
        try:
            cached.resolve(client, out.models[0].serialized, experiment_id)
            model_id = log_model.send(
                client, out.models[0], run_id=run_id, experiment_id=experiment_id, params=out.params
            )
            for prompt in out.given_prompts:
                client.link_prompt_version_to_model(prompt.name, prompt.version, model_id)
        except Exception as error:
            if _stays(client, out, error):
                raise
            refused = refused or error
            out.models[0].discard()
        del out.models[0]
    if refused:
        raise refused


def send_apart(
    client: MlflowClient, uri: str, run: Created, new_records: Iterable[records.Record], at: int | None = None
) -> None:
    """Send what was made at a run's end, apart from what its code logged: where this fails it is made anew.

    Args:
        client: MLflow's client.
        uri: The tracking URI of its store.
        run: The run.
        new_records: What is sent.
        at: The time of metrics: the same whenever they are sent, so that MLflow has none of them twice.

    Raises:
        Exception: What MLflow raises.
    """
    apart = Outgoing(None, None)
    taken, problems = enqueue(new_records, uri, at)
    apart.incoming.append(Taken(0, taken))
    apart.sort()
    try:
        send_batch(client, run.info.run_id, apart, with_params=True)
        send_files(client, run, apart)
    finally:
        apart.discard()
    if problems:
        raise TrackingError.of(problems)


def send_spans(connection: Connection, out: Outgoing, *, may_wait: bool) -> None:
    """Send the spans of the calls below an outermost run, and its trace when that is over.

    Args:
        connection: The store.
        out: The run.
        may_wait: Whether spans wait for the runs that they are to name, which are sent soon.

    Raises:
        TrackingError: If the store takes no spans.
        Exception: What MLflow raises.
    """
    info = out.created.result(0).info
    here = {**alive_here(), **out.traced} if out.spans else {}

    def about(key: str) -> dict[str, str] | None:
        of = here.get(key)
        if of is None or (of.created.done() and of.created.exception(0)):
            return {}
        if not of.created.done():
            return None
        its = of.created.result(0).info
        url = connection.page_of(its.experiment_id, its.run_id)
        return {"flowml.run_id": its.run_id, **({"flowml.run_url": url} if url else {})}

    before, refused = {span.of for span in out.spans}, None
    try:
        tracing.send_spans(connection.client, info.experiment_id, out.spans, about, may_wait=may_wait)
    except Exception as error:
        if _stays(connection.client, out, error):
            raise
        refused = error
        out.spans.clear()
        if isinstance(error, TrackingError):  # the store takes none: a trace would be empty there
            out.traces.clear()
    for key in before - {span.of for span in out.spans}:
        out.traced.pop(key, None)
    with _taking_away(connection.client, out, out.traces):
        for trace in out.traces:
            tracing.send_trace(connection.client, info, trace, out.new.tags if out.new else {})
    if refused:
        raise refused


@contextmanager
def _taking_away(client: MlflowClient, out: Outgoing, sent: list[Any]) -> Iterator[None]:
    """Take away what was sent, or refused for good; leave it where the same may succeed later."""
    try:
        yield
    except Exception as error:
        if _stays(client, out, error):
            raise
        sent.clear()
        raise
    sent.clear()
