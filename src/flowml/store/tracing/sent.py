"""Sends spans, and traces that are over, by the client that MLflow itself exports by."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flowml import records
from flowml.errors import TrackingError
from flowml.store.tracing.home import PREFIX

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_AT_ONCE = 100  # spans in one call
_PREVIEW = 1000  # characters, which MLflow shows in its table of traces
_PAGES = ("prefect.flow_run_url", "prefect.task_run_url")
_OF_THE_PROCESS = (
    "mlflow.user",
    "mlflow.source.name",
    "mlflow.source.type",
    "mlflow.source.git.commit",
    "mlflow.source.git.branch",
)


def send_spans(
    client: MlflowClient,
    experiment_id: str,
    spans: list[records.Span],
    about: Callable[[str], Mapping[str, str] | None],
    *,
    may_wait: bool,
) -> None:
    """Send spans, and take away those that were sent.

    Args:
        client: MLflow's client.
        experiment_id: The experiment of their trace.
        spans: What is to be sent.
        about: Returns what a span says of a run, by the run's key; None while that is not created.
        may_wait: Whether those that are to name such a run stay.

    Raises:
        TrackingError: If the store takes no spans.
        Exception: What MLflow raises.
    """
    from mlflow.entities import Span
    from mlflow.tracing.client import TracingClient

    tracing = TracingClient(client.tracking_uri)
    known = {key: about(key) for key in {each.of for each in spans if each.of}}
    ready = [each for each in spans if not (may_wait and each.of and known[each.of] is None)]
    for start in range(0, len(ready), _AT_ONCE):
        some = ready[start : start + _AT_ONCE]
        made = [Span.from_dict(_with(each.fields, known.get(each.of) or {})) for each in some]
        try:
            tracing.log_spans(experiment_id, made)
        except NotImplementedError as error:
            spans.clear()
            msg = f"the MLflow store takes no spans ({error}): traces have only what MLflow sends by itself."
            raise TrackingError(msg, remedy="Use a database or an MLflow server of 3.4 or later.") from error
        sent = set(map(id, some))
        spans[:] = [each for each in spans if id(each) not in sent]


def _with(fields: Mapping[str, Any], about: Mapping[str, str]) -> dict[str, Any]:
    """Add attributes to a span, which MLflow keeps as JSON."""
    more = {key: json.dumps(value) for key, value in about.items()}
    return {**fields, "attributes": {**fields["attributes"], **more}}


def send_trace(client: MlflowClient, run: records.CurrentRun, trace: records.Trace, tags: Mapping[str, str]) -> None:
    """Send a trace that is over; its spans may come before it, or later.

    Args:
        client: MLflow's client.
        run: The run that it is of.
        trace: The trace.
        tags: The run's tags, which say whose it is.

    Raises:
        Exception: What MLflow raises.
    """
    from mlflow.entities import TraceInfo, TraceLocation, TraceState
    from mlflow.tracing.client import TracingClient

    info = TraceInfo(
        trace_id=trace.trace_id,
        trace_location=TraceLocation.from_experiment_id(run.experiment_id),
        request_time=trace.started,
        execution_duration=max(0, trace.ended - trace.started),
        state=TraceState.OK if trace.is_ok else TraceState.ERROR,
        request_preview=trace.request[:_PREVIEW],
        response_preview=trace.response[:_PREVIEW],
        trace_metadata={
            **_some(tags, _OF_THE_PROCESS),
            "mlflow.trace_schema.version": "3",
            **trace.metadata,
            "mlflow.sourceRun": run.run_id,
        },
        tags={**_some(tags, _PAGES), **trace.tags, "mlflow.traceName": trace.name},
    )
    TracingClient(client.tracking_uri).start_trace(info)


def end_left_open(  # noqa: PLR0913 - most are given by name
    client: MlflowClient, run: Run, status: str, *, state: str, ended: int, why: str
) -> None:
    """Write the span of a run that could not say itself how it ended, and end the trace that began with it.

    Args:
        client: MLflow's client.
        run: The run, as it was while it was open.
        status: The status that it gets.
        state: The orchestrator's name for its end.
        ended: When, in milliseconds since 1970.
        why: Why flowml closes it.

    Raises:
        Exception: What MLflow raises.
    """
    tags, started = run.data.tags, run.info.start_time or ended
    if "flowml.span_id" not in tags:
        return
    is_task, above = tags.get("flowml.kind") == "task", tags.get("flowml.parent_span_id")
    name = tags.get("prefect.task_name" if is_task else "prefect.flow_name", run.info.run_name or "")
    is_ok = status == "FINISHED"
    trace_id, kind = tags["flowml.trace_id"], "TASK" if is_task else "WORKFLOW"
    known = {"mlflow.traceRequestId": trace_id, "mlflow.spanType": kind, "flowml.run_id": run.info.run_id}
    known |= {"prefect.state": state, **_some(tags, ("prefect.flow_run_id", "prefect.task_run_id"))}
    fields: dict[str, Any] = {
        "trace_id": _base64(trace_id.removeprefix(PREFIX)),
        "span_id": _base64(tags["flowml.span_id"]),
        "parent_span_id": _base64(above) if above else None,
        "name": name,
        "start_time_unix_nano": started * 1_000_000,
        "end_time_unix_nano": ended * 1_000_000,
        "status": {"code": "STATUS_CODE_OK" if is_ok else "STATUS_CODE_ERROR", "message": "" if is_ok else why},
        "attributes": {},
        "events": [],
    }
    left = [records.Span(_with(fields, known))]
    with suppress(TrackingError):  # of a store that takes no spans: there is no trace then
        send_spans(client, run.info.experiment_id, left, lambda _: {}, may_wait=False)
    if above is None:
        trace = records.Trace(trace_id, name, started, ended, is_ok, request="", response="", tags={}, metadata={})
        where = records.CurrentRun(run.info.run_id, run.info.experiment_id, run.info.run_id, None)
        send_trace(client, where, trace, tags)


def _base64(identifier: str) -> str:
    return b64encode(bytes.fromhex(identifier)).decode()


def _some(tags: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: tags[name] for name in names if name in tags}
