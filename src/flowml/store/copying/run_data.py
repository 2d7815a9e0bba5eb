"""What a run holds: parameters, metrics with their histories, tags, datasets, models, files; then how it ended."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from flowml import mlflow_limits
from flowml.store.copying import files, logged_models, marks
from flowml.store.copying.ends import Copied, Ends
from flowml.store.copying.links import Links
from flowml.store.copying.logged_models import ModelMetrics, Point, point_of
from flowml.store.copying.runs import RunToCopy, datasets_of, models_made, models_read, note_copied

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

T = TypeVar("T")


def fill(ends: Ends, one: RunToCopy, links: Links, by_model: ModelMetrics, done: Copied) -> None:
    """Copy what a run holds; say that the copy is complete if the run is over.

    Args:
        ends: The two stores.
        one: The run.
        links: The new ids of all that it may name.
        by_model: Which points of its metrics tell of a logged model.
        done: Counts what is copied.

    Raises:
        Exception: What MLflow raises.
    """
    run, new_id = one.run, one.new_id
    there = ends.target.get_run(new_id) if one.before else None  # what an earlier sync brought
    _fill_in(ends, new_id, params=run.data.params)
    done.points += _send_metrics(ends, one, by_model, is_new=there is None)
    _link(ends, ends.source.get_run(run.info.run_id), new_id, there, links)  # a search leaves out what models it read
    unsendable = _send_files(ends, one, done)
    _send_tags(ends, one, there, links)
    if one.is_open:
        done.running += 1
        if there is not None and there.info.status != run.info.status:  # it goes on, after it had ended
            ends.target.update_run(new_id, status=run.info.status)
        return
    ends.target.set_terminated(new_id, run.info.status, run.info.end_time)
    if unsendable:  # so it is not complete
        return
    ends.target.set_tag(new_id, marks.COPIED, one.digest)
    note_copied(ends, one)
    done.runs += 1


def _fill_in(
    ends: Ends, new_id: str, *, params: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
) -> None:
    from mlflow.entities import Param, RunTag

    for some in in_parts((params or {}).items(), mlflow_limits.BATCH_PARAMS):
        ends.target.log_batch(new_id, params=[Param(*each) for each in some])
    for some in in_parts((tags or {}).items(), mlflow_limits.BATCH_TAGS):
        ends.target.log_batch(new_id, tags=[RunTag(*each) for each in some])


def _send_tags(ends: Ends, one: RunToCopy, there: Run | None, links: Links) -> None:
    tags = links.of_tags(marks.without_marks(one.run.data.tags))
    _fill_in(ends, one.new_id, tags=tags)
    if there is not None:  # tags of flowml's that are gone since then; others are somebody's there
        for key in there.data.tags:
            if key.startswith("flowml.") and key not in tags and key in marks.without_marks(there.data.tags):
                ends.target.delete_tag(one.new_id, key)


def _send_metrics(ends: Ends, one: RunToCopy, by_model: ModelMetrics, *, is_new: bool) -> int:
    count, told = 0, by_model.get(one.run.info.run_id, {})
    told = dict(told) if is_new else logged_models.untold(ends, one.new_id, told)
    for key in one.run.data.metrics:
        history = ends.source.get_metric_history(one.run.info.run_id, key)
        known = set() if is_new else {_point(each) for each in ends.target.get_metric_history(one.new_id, key)}
        points = (point for each in history for point in _to_send(each, told, is_known=_point(each) in known))
        for some in in_parts(points, mlflow_limits.BATCH):
            ends.target.log_batch(one.new_id, metrics=some)
            count += len(some)
    return count


def _to_send(point: Metric, told: dict[Point, list[Mapping[str, Any]]], *, is_known: bool) -> Iterator[Metric]:
    """Give a point once for each logged model that is still to be told of it, or once if it is not known there."""
    from mlflow.entities import Metric

    # Taken out: a NaN and a 0 at one moment are the same to the model, which takes one of them.
    models = told.pop(point_of(point), [])
    for model in models or ([] if is_known else [{}]):
        yield Metric(point.key, point.value, point.timestamp, point.step, **model)


def _point(metric: Metric) -> tuple[str, str, int, int]:
    """Return what tells a point from others; NaN equals itself."""
    value = "nan" if math.isnan(metric.value) else repr(metric.value)
    return metric.key, value, metric.timestamp, metric.step


def _link(ends: Ends, run: Run, new_id: str, there: Run | None, links: Links) -> None:
    """Tell which datasets and models the run read, and which models it made."""
    from mlflow.entities import LoggedModelInput, LoggedModelOutput

    datasets = [_dataset(each, links) for each in datasets_of(run)]
    read = links.known(each.model_id for each in models_read(run))
    made = [(links.ids[each.model_id], each.step) for each in models_made(run) if each.model_id in links.ids]
    if there is not None:
        known = {(each.dataset.name, each.dataset.digest) for each in datasets_of(there)}
        datasets = [each for each in datasets if (each.dataset.name, each.dataset.digest) not in known]
        known_models = {each.model_id for each in models_read(there)}
        read = [each for each in read if each not in known_models]
        known_outputs = {(each.model_id, each.step) for each in models_made(there)}
        made = [each for each in made if each not in known_outputs]
    if datasets or read:
        ends.target.log_inputs(new_id, datasets, [LoggedModelInput(each) for each in read])
    if made:
        ends.target.log_outputs(new_id, [LoggedModelOutput(*each) for each in made])


def _dataset(one: Any, links: Links) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    of = one.dataset
    source = links.rewritten(of.source)
    tags = [InputTag(tag.key, links.rewritten(tag.value)) for tag in one.tags]
    return DatasetInput(Dataset(of.name, of.digest, of.source_type, source, of.schema, of.profile), tags)


def _send_files(ends: Ends, one: RunToCopy, done: Copied) -> list[str]:
    """Send the files of a run; return those that could not be sent."""
    place = files.Files(one.run.info.artifact_uri)
    if not place.listing():
        return []
    left = files.unsendable(place, ends, lambda: str(ends.target.get_run(one.new_id).info.artifact_uri))
    done.refuse_files(f"run {one.run.info.run_id}", left)
    there = files.sizes(lambda path: ends.target.list_artifacts(one.new_id, path)) if one.before else {}
    send = partial(ends.target.log_artifact, one.new_id)
    done.files += files.send(place, ends, there, send, left)
    return left


def in_parts(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Cut a series into lists of at most this many."""
    left = iter(items)
    while some := list(islice(left, most)):
        yield some
