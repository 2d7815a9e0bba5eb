"""Logged models: made under their runs, with their files, in which the new ids are written."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from flowml.store.backend.paging import paged
from flowml.store.copying import files, marks
from flowml.store.copying.ends import Copied, Ends, existing
from flowml.store.copying.links import Links

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric

Point: TypeAlias = tuple[str, int, int, float]
"""Key, time, step and value of a point, as MLflow's tables have it where it tells of a model."""

ModelMetrics: TypeAlias = "dict[str, dict[Point, list[Mapping[str, Any]]]]"
"""By run and point: the models that it tells of, with new ids, and the dataset."""

_ABOUT = "MLmodel"


@dataclass(frozen=True, slots=True)
class ModelToCopy:
    """A logged model that is to be copied.

    Attributes:
        model: The model, as it was before anything of it was copied.
        digest: Of what it held then.
        new_id: The copy's id.
        lacks_files: Whether some of its files could not be sent.
    """

    model: LoggedModel
    digest: str
    new_id: str
    lacks_files: bool = False


def all_of(source: MlflowClient, experiment_id: str) -> Iterator[LoggedModel]:
    """Go through the logged models of an experiment, oldest first."""
    order = [{"field_name": "creation_timestamp", "ascending": True}]
    yield from paged(partial(source.search_logged_models, [experiment_id], order_by=order))


def make(ends: Ends, experiment_id: str, links: Links, by_model: ModelMetrics, done: Copied) -> Iterator[ModelToCopy]:
    """Make the logged models of an experiment, with parameters and files; none that was made already.

    Args:
        ends: The two stores.
        experiment_id: The experiment, in the store that is read.
        links: Knows the runs; gets the models' ids and places.
        by_model: Gets the points of metrics that tell of them.
        done: Counts what is copied.

    Yields:
        Those that lack their tags, for these may name versions that are still to be registered.
    """
    for model in all_of(ends.source, experiment_id):
        digest = _digest(model)
        if copied := marks.copy_of(model.tags, ends.to, digest):
            links.ids[model.model_id] = copied
        elif model.source_run_id in done.deleted:
            continue  # somebody deleted the copy of its run; one whose run was deleted here is copied without that
        else:
            copy = _find(ends, links.experiments[experiment_id], model) or _create(ends, experiment_id, model, links)
            links.ids[model.model_id] = copy.model_id
            links.places[model.artifact_location] = copy.artifact_location
            if copy.tags.get(marks.COPIED) == digest:
                note_copied(ends, ModelToCopy(model, digest, copy.model_id))
            else:
                yield from _fill(ends, ModelToCopy(model, digest, copy.model_id), copy, links, done)
        _add_metrics(model, links, by_model)


def complete(ends: Ends, one: ModelToCopy, links: Links, done: Copied) -> None:
    """Give a copy its tags, and say that it is complete."""
    tags = links.of_tags(marks.without_marks(one.model.tags))
    if one.lacks_files:
        ends.target.set_logged_model_tags(one.new_id, tags)
        return
    ends.target.set_logged_model_tags(one.new_id, {**tags, marks.COPIED: one.digest})
    note_copied(ends, one)
    done.models += 1


def note_copied(ends: Ends, one: ModelToCopy) -> None:
    """Note on a logged model that its copy is complete."""
    note = marks.Note(ends.to, one.new_id, one.digest)
    ends.source.set_logged_model_tags(one.model.model_id, {marks.SYNCED: note.as_tag()})


def is_copied(model: LoggedModel, to: str | None = None) -> bool:
    """Tell whether all that a logged model holds now was copied, to a store or to any."""
    return marks.is_copied(model.tags, _digest(model), to)


def ids_there(ends: Ends, experiment_id: str) -> set[str]:
    """Return of which logged models there are copies in an experiment of the other store."""
    search = partial(ends.target.search_logged_models, [experiment_id], f"tags.`{marks.COPIED_FROM}` LIKE '%'")
    return {model.tags[marks.COPIED_FROM] for model in paged(search)}


def point_of(metric: Metric) -> Point:
    """Return what tells a point from others; MLflow has 0 in the place of a NaN that tells of a model."""
    return metric.key, metric.timestamp, metric.step, 0.0 if math.isnan(metric.value) else metric.value


def untold(
    ends: Ends, new_run_id: str, told: Mapping[Point, list[Mapping[str, Any]]]
) -> dict[Point, list[Mapping[str, Any]]]:
    """Return what points of a run's copy are still to tell of models: not what they tell already.

    Args:
        ends: The two stores.
        new_run_id: The copy's id.
        told: Which points of the run tell of which models.
    """
    ids = {each["model_id"] for models in told.values() for each in models}
    there = {model_id: _moments(ends, model_id, new_run_id) for model_id in ids}
    left = {}
    for point, models in told.items():
        # A model has one value of a key at a moment and step: MLflow refuses another.
        moments = [(each, there[each["model_id"]]) for each in models]
        left[point] = [each for each, known in moments if known is not None and point[:3] not in known]
    return left


def _moments(ends: Ends, model_id: str, run_id: str) -> set[tuple[str, int, int]] | None:
    """Return what a model is told of by a run; None if somebody deleted it."""
    model = existing(ends.target.get_logged_model, model_id)
    if model is None:
        return None
    return {point_of(each)[:3] for each in model.metrics or [] if each.run_id == run_id}


def _find(ends: Ends, experiment_id: str, model: LoggedModel) -> LoggedModel | None:
    mine = f"tags.`{marks.COPIED_FROM}` = '{model.model_id}'"
    return next(iter(ends.target.search_logged_models([experiment_id], mine)), None)


def _create(ends: Ends, experiment_id: str, model: LoggedModel, links: Links) -> LoggedModel:
    return ends.target.create_logged_model(
        links.experiments[experiment_id],
        name=model.name,
        source_run_id=links.ids.get(model.source_run_id or ""),
        tags={marks.COPIED_FROM: model.model_id},
        params=dict(model.params),
        model_type=model.model_type,
    )


def _fill(ends: Ends, one: ModelToCopy, copy: LoggedModel, links: Links, done: Copied) -> Iterator[ModelToCopy]:
    from mlflow.entities import LoggedModelStatus

    if one.model.status == LoggedModelStatus.PENDING:
        done.unfinished_models += 1
        return
    missing = {key: value for key, value in one.model.params.items() if key not in copy.params}
    if missing:
        ends.target.log_model_params(one.new_id, missing)
    left = files.unsendable(files.Files(one.model.artifact_location), ends, lambda: str(copy.artifact_location))
    done.refuse_files(f"logged model {one.model.model_id}", left)
    done.files += _send_files(ends, one, links, left)
    if copy.status == LoggedModelStatus.PENDING:
        ends.target.finalize_logged_model(one.new_id, LoggedModelStatus(one.model.status))
    yield dataclasses.replace(one, lacks_files=bool(left))


def _send_files(ends: Ends, one: ModelToCopy, links: Links, left: Collection[str]) -> int:
    def put(file: str, folder: str | None) -> None:
        if Path(file).name != _ABOUT or folder:
            ends.target.log_model_artifact(one.new_id, file, folder)
            return
        with TemporaryDirectory(prefix="flowml-") as scratch:
            rewritten = Path(scratch, _ABOUT)
            rewritten.write_text(links.rewritten(Path(file).read_text(encoding="utf-8")), encoding="utf-8")
            ends.target.log_model_artifact(one.new_id, str(rewritten), folder)

    there = files.sizes(partial(ends.target.list_logged_model_artifacts, one.new_id))
    return files.send(files.Files(one.model.artifact_location), ends, there, put, left)


def _add_metrics(model: LoggedModel, links: Links, by_model: ModelMetrics) -> None:
    for metric in model.metrics or []:
        of_run = by_model.setdefault(str(metric.run_id), {})
        told: dict[str, Any] = {"model_id": links.ids[model.model_id]}
        told |= {"dataset_name": metric.dataset_name, "dataset_digest": metric.dataset_digest}
        of_run.setdefault(point_of(metric), []).append(told)


def _digest(model: LoggedModel) -> str:
    return marks.digest(
        [model.name, model.status.value, model.model_type, model.source_run_id],
        marks.without_marks(model.tags),
        model.params,
        files.Files(model.artifact_location).listing(),
    )
