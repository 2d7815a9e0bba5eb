"""Traces: they keep their ids, which are random, so that a second try writes the same trace.

MLflow's documented client only begins traces that happen now. `TracingClient` of ``mlflow.tracing.client``, by which
MLflow itself exports, takes a trace that is over, with its times, tags, spans and assessments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy as shallow
from functools import partial
from typing import TYPE_CHECKING, Any

from flowml.store.backend.paging import paged
from flowml.store.copying import marks
from flowml.store.copying.ends import Copied, Ends, existing
from flowml.store.copying.files import local_folder
from flowml.store.copying.links import Links

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Assessment, Span, TraceInfo

_PLACE, _ATTACHMENTS = "mlflow.artifactLocation", "attachments"
_OF_THE_STORE = (_PLACE, "mlflow.trace.spansLocation")
_OF_THE_STORE_IN_ASSESSMENTS = ("valid", "last_update_time")


def copy(ends: Ends, experiment_id: str, links: Links, done: Copied) -> None:
    """Copy the traces of an experiment that are over.

    Args:
        ends: The two stores.
        experiment_id: The experiment, in the store that is read.
        links: The new ids.
        done: Counts what is copied.

    Raises:
        Exception: What MLflow raises.
    """
    for info in all_of(ends.source, experiment_id):
        if not is_copied(info, ends.to) and _is_over(info):
            _copy_one(ends, info, links.experiments[experiment_id], links)
            note = marks.Note(ends.to, info.trace_id, _digest(info))
            ends.source.set_trace_tag(info.trace_id, marks.SYNCED, note.as_tag())
            done.traces += 1


def all_of(source: MlflowClient, experiment_id: str) -> Iterator[TraceInfo]:
    """Go through the traces of an experiment, without their spans."""
    search = partial(
        source.search_traces, locations=[experiment_id], order_by=["timestamp_ms ASC"], include_spans=False
    )
    yield from (trace.info for trace in list(paged(search)))


def is_copied(info: TraceInfo, to: str | None = None) -> bool:
    """Tell whether a trace was copied as it is now, to a store or to any."""
    return marks.is_copied(info.tags, _digest(info), to)


def ids_there(ends: Ends, experiment_id: str, infos: Sequence[TraceInfo]) -> set[str]:
    """Return which of some traces are in an experiment of the other store; they begin there when they did here."""
    if not infos:
        return set()
    first, last = (pick(info.request_time for info in infos) for pick in (min, max))
    mine = f"tags.`{marks.COPIED_FROM}` LIKE '%' AND timestamp_ms >= {first} AND timestamp_ms <= {last}"
    search = partial(ends.target.search_traces, locations=[experiment_id], filter_string=mine, include_spans=False)
    return {trace.info.trace_id for trace in paged(search)} & {info.trace_id for info in infos}


def run_of(info: TraceInfo) -> str:
    """Return the id of the run that made a trace; "" if none did."""
    return info.trace_metadata.get("mlflow.sourceRun", "")


def _is_over(info: TraceInfo) -> bool:
    return info.state.value != "IN_PROGRESS"


def _copy_one(ends: Ends, info: TraceInfo, experiment_id: str, links: Links) -> None:
    from mlflow.entities.trace_location import TraceLocation

    spans = [_led(span, links) for span in ends.source.get_trace(info.trace_id, display=False).data.spans]
    tags = {key: value for key, value in marks.without_marks(info.tags).items() if key not in _OF_THE_STORE}
    said, there = _said(info, links), {one.assessment_id: one for one in _said_there(ends, info)}
    new = dataclasses.replace(
        info,
        assessments=[one for one in said.values() if _goes_with_its_trace(one, said, there)],
        trace_location=TraceLocation.from_experiment_id(experiment_id),
        tags={**links.of_tags(tags), marks.COPIED_FROM: info.trace_id},
        trace_metadata=links.of_tags(info.trace_metadata),
    )
    if spans:
        ends.traces.log_spans(experiment_id, spans)
    _take_back(ends, info.trace_id, said, there.values())
    made = ends.traces.start_trace(new)
    _send_rest(ends, info.trace_id, said, there)
    _send_attachments(ends, info.tags.get(_PLACE), made.tags.get(_PLACE))


def _said(info: TraceInfo, links: Links) -> dict[str | None, Assessment]:
    """Return what is said of a trace, by ids, as it is said of the copy: with the new ids, and marked as copied."""
    found = {}
    for one in info.assessments:
        found[one.assessment_id] = led = shallow(one)
        metadata = {key: links.rewritten(str(value)) for key, value in (one.metadata or {}).items()}
        led.metadata = {**metadata, marks.COPIED_FROM: str(one.assessment_id)}
        led.run_id = links.ids.get(one.run_id or "", one.run_id)
    return found


def _said_there(ends: Ends, info: TraceInfo) -> list[Assessment]:
    """Return what is said of the copy, if there is one: by an earlier sync, and by people there."""
    if not info.assessments and marks.SYNCED not in info.tags:
        return []
    there = existing(ends.traces.get_trace_info, info.trace_id)
    return list(there.assessments) if there else []


def _take_back(ends: Ends, trace_id: str, said: Mapping[str | None, Assessment], there: Iterable[Assessment]) -> None:
    """Delete what was copied and is not said any more; what people said there has no mark."""
    for one in there:
        if one.assessment_id not in said and marks.COPIED_FROM in (one.metadata or {}):
            ends.traces.delete_assessment(trace_id, str(one.assessment_id))


def _goes_with_its_trace(
    one: Assessment, said: Mapping[str | None, Assessment], there: Mapping[str | None, Assessment]
) -> bool:
    """Tell whether something is sent with its trace, as it is, by which MLflow also makes it valid."""
    known = there.get(one.assessment_id)
    return one.overrides not in said if known is None else known.valid is not False and _differs(one, known)


def _send_rest(
    ends: Ends, trace_id: str, said: Mapping[str | None, Assessment], there: Mapping[str | None, Assessment]
) -> None:
    """Send what overrides something, which makes that invalid, and what changed and was overridden."""

    def depth(one: Assessment) -> int:
        return 1 + depth(said[one.overrides]) if one.overrides in said else 0

    for one in sorted(said.values(), key=depth):  # MLflow refuses what overrides something that is not there
        known = there.get(one.assessment_id)
        if known is None and one.overrides in said:
            ends.traces.log_assessment(trace_id, one)
        elif known is not None and known.valid is False and _differs(one, known):
            ends.traces.update_assessment(trace_id, str(one.assessment_id), one)


def _differs(one: Assessment, known: Assessment) -> bool:
    """Tell whether a copy says something else; what overrides it says whether it is valid."""

    def content(of: Assessment) -> dict[str, Any]:
        return {key: value for key, value in of.to_dictionary().items() if key not in _OF_THE_STORE_IN_ASSESSMENTS}

    return content(one) != content(known)


def _send_attachments(ends: Ends, place: str | None, there: str | None) -> None:
    """Send what spans have as files beside them."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    folder = local_folder(place or "none:")
    if folder and there and there != place and (attachments := folder / _ATTACHMENTS).is_dir():
        target = get_artifact_repository(there, ends.target.tracking_uri)
        target.log_artifacts(str(attachments), _ATTACHMENTS)


def _led(span: Span, links: Links) -> Span:
    """Return a span that leads to the copy of its run, if it names one."""
    from mlflow.entities import Span

    fields = span.to_dict()
    run_id = fields["attributes"].get("flowml.run_id")
    if run_id is None:
        return span
    return Span.from_dict({**fields, "attributes": {**fields["attributes"], "flowml.run_id": links.rewritten(run_id)}})


def _digest(info: TraceInfo) -> str:
    state = [info.state.value, info.request_time, info.execution_duration]
    assessments = [assessment.to_dictionary() for assessment in info.assessments]
    return marks.digest(state, marks.without_marks(info.tags), info.trace_metadata, assessments)
