"""Spans while their calls work: made by a tracer of flowml's own, and known to MLflow's, so that others come below.

MLflow's tracer would ask for the experiment as soon as a trace begins, and a flow's run is opened late. So the spans
come from a tracer that exports nothing; MLflow's registry of traces knows them, and what ``mlflow.trace`` or an
autologged client makes meanwhile is below the span that is active in the context. Those go to MLflow by its own
exporter.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, cast

from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from flowml import records

if TYPE_CHECKING:
    from mlflow.entities import LiveSpan, TraceInfo
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

PREFIX = "tr-"
"""How ids of traces begin in MLflow."""

_FRESH = 300.0  # seconds, before the registry is told of a trace again: it forgets one after an hour
_QUEUED = 60.0  # seconds after its end that a span may still wait to be exported
_next: ContextVar[records.SpanIds | None] = ContextVar("flowml_next_span", default=None)


def is_on() -> bool:
    """Tell whether MLflow traces at all here: it may have been told not to."""
    from mlflow.tracing.provider import is_tracing_enabled

    return bool(is_tracing_enabled()) and _tracer() is not None


def ids_of(trace: str, call: str) -> records.SpanIds:
    """Return the ids of a call's span: always the same, so that what is sent twice is there once.

    Args:
        trace: The id of its trace.
        call: Tells the call from all others.
    """
    return records.SpanIds(trace, hashlib.sha256(call.encode()).hexdigest()[:16])


class Home:
    """A trace as this process has it, from the first call in it on.

    Args:
        trace: Its id.
        started: When it began here, in milliseconds since 1970.

    Attributes:
        inside: How many calls have come in and not left.
    """

    _all: ClassVar[dict[str, Home]] = {}
    _entering = threading.RLock()

    @classmethod
    def enter(cls, trace: str, started: int) -> Home:
        """Return a trace for a call that comes in from elsewhere, which is to `leave` it; of several, the same."""
        with cls._entering:
            home = cls._all.setdefault(trace, cls(trace, started))
            home.inside += 1
        return home

    def leave(self) -> None:
        """Have MLflow's registry forget the trace, when the last call that came in leaves, and its spans are sent."""
        from mlflow.tracing.trace_manager import InMemoryTraceManager

        with self._entering:
            self.inside -= 1
            if self.inside:
                return
            self._all.pop(self.trace, None)
        InMemoryTraceManager.get_instance().pop_trace(int(self.trace, 16))

    def __init__(self, trace: str, started: int) -> None:
        self.inside = 0
        self.trace = trace
        self._started = started
        self._info: TraceInfo | None = None
        self._experiment_id: str | None = None
        self._told = -_FRESH
        self._lock = threading.RLock()

    @property
    def is_placed(self) -> bool:
        """Whether it is known in which experiment it is."""
        return self._experiment_id is not None

    @property
    def trace_id(self) -> str:
        """Its id in MLflow."""
        return PREFIX + self.trace

    def tell(self) -> None:
        """Have MLflow's registry know the trace, and keep it: it forgets a trace that is not ended within an hour."""
        from mlflow.tracing.trace_manager import InMemoryTraceManager

        if time.monotonic() - self._told < _FRESH:
            return
        manager, oldest = InMemoryTraceManager.get_instance(), time.time_ns() - int(_QUEUED * 1e9)
        with self._lock, manager.get_trace(self.trace_id) as before:
            if self._info is None:
                self._info = before.info if before else self._new_info()
            spans = list(before.span_dict.values()) if before else []
            manager.register_trace(int(self.trace, 16), self._info)
            for span in spans:
                if span.end_time_ns is None or span.end_time_ns > oldest:
                    manager.register_span(span)
            self._told = time.monotonic()

    def _new_info(self) -> TraceInfo:
        from mlflow.entities import TraceInfo, TraceLocation, TraceState
        from mlflow.entities.trace_location import TraceLocationType

        location = TraceLocation(TraceLocationType.MLFLOW_EXPERIMENT)  # until it is known which
        if self._experiment_id is not None:
            location = TraceLocation.from_experiment_id(self._experiment_id)
        return TraceInfo(self.trace_id, location, self._started, TraceState.IN_PROGRESS, trace_metadata={}, tags={})

    def is_in(self, experiment_id: str) -> None:
        """Hear in which experiment it is: MLflow's exporter asks for it at the end of each span."""
        from mlflow.entities import TraceLocation

        with self._lock:
            self._experiment_id = experiment_id
            if self._info:
                self._info.trace_location = TraceLocation.from_experiment_id(experiment_id)

    def noted(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the tags and the metadata that the user's code, or MLflow's, has noted on the trace here."""
        with self._lock:
            return (dict(self._info.tags), dict(self._info.trace_metadata)) if self._info else ({}, {})


class OwnSpan:
    """The span of one tracked call.

    Args:
        home: The trace.
        ids: Its own ids.
        above: The ids of the span that it is below; None for the first of the trace.
        name: What it is called.
        kind: Its type, such as ``"TASK"``.
        started: When it began, in milliseconds since 1970.
        attributes: What else is known of it.
    """

    def __init__(  # noqa: PLR0913 - each is given by its name
        self,
        home: Home,
        ids: records.SpanIds,
        above: records.SpanIds | None,
        *,
        name: str,
        kind: str,
        started: int,
        attributes: Mapping[str, Any],
    ) -> None:
        from mlflow.entities.span import create_mlflow_span
        from mlflow.tracing.trace_manager import InMemoryTraceManager

        self.ids = ids
        self.home = home
        home.tell()
        tracer = _tracer()
        assert tracer is not None  # noqa: S101 - for the type checker: it is asked before
        token = _next.set(ids)
        try:
            made = tracer.start_span(name, context=_below(above), start_time=started * 1_000_000)
        finally:
            _next.reset(token)
        self._span = cast("LiveSpan", create_mlflow_span(made, home.trace_id, kind))
        self._span.set_attributes(dict(attributes))
        InMemoryTraceManager.get_instance().register_span(self._span)

    def active(self) -> AbstractContextManager[None]:
        """Make it the one that others come below, in this context."""
        from mlflow.tracing.provider import safe_set_span_in_context

        found: AbstractContextManager[None] = safe_set_span_in_context(self._span)
        return found

    def given(self, inputs: Any) -> None:
        """Note what the call was given, as plain data."""
        self._span.set_inputs(inputs)

    def gave(self, outputs: Any) -> None:
        """Note what it gave, likewise."""
        self._span.set_outputs(outputs)

    def note(self, attributes: Mapping[str, Any]) -> None:
        """Note what else became known of it."""
        self._span.set_attributes(dict(attributes))

    def failed(self, kind: str, text: str, trace: str, at: int) -> None:
        """Note an error that ended it, or an attempt in it.

        Args:
            kind: Its type.
            text: What it says.
            trace: Where it came from.
            at: When, in milliseconds since 1970.
        """
        from mlflow.entities import SpanEvent

        about: dict[str, Any] = {"exception.type": kind, "exception.message": text, "exception.stacktrace": trace}
        self._span.add_event(SpanEvent("exception", at * 1_000_000, about))  # type: ignore[abstract] # it is MLflow's way

    @property
    def previews(self) -> tuple[str, str]:
        """What went in and came out, as text."""
        found = (self._span.inputs, self._span.outputs)
        inputs, outputs = ("" if each is None else json.dumps(each, ensure_ascii=False) for each in found)
        return inputs, outputs

    def ended(self, at: int, *, is_ok: bool, why: str = "") -> dict[str, Any]:
        """Return it as it is now, as plain data, with its end.

        Args:
            at: When it ended, in milliseconds since 1970.
            is_ok: Whether it ended well.
            why: Why not.
        """
        from mlflow.tracing.trace_manager import InMemoryTraceManager

        with InMemoryTraceManager.get_instance().get_trace(self.home.trace_id) as trace:
            if trace:
                trace.span_dict.pop(self._span.span_id, None)
        made = self._span.to_dict()
        made["events"] = [{**event, "attributes": dict(event["attributes"] or {})} for event in made["events"]]
        status = {"code": "STATUS_CODE_OK" if is_ok else "STATUS_CODE_ERROR", "message": why}
        return {**made, "end_time_unix_nano": at * 1_000_000, "status": status}


def _below(above: records.SpanIds | None) -> Context:
    """Return a context in which the next span is below another, wherever that is; an empty one without one."""
    if above is None:
        return set_span_in_context(NonRecordingSpan(SpanContext(0, 0, is_remote=False)))
    context = SpanContext(int(above.trace, 16), int(above.span, 16), is_remote=False, trace_flags=TraceFlags(1))
    return set_span_in_context(NonRecordingSpan(context))


@cache
def _tracer() -> Tracer | None:
    """Return the tracer of flowml's spans, which exports nothing; None where OpenTelemetry is off."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Tracer, TracerProvider
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    class Given(RandomIdGenerator):
        """Gives the ids that the next span is to have."""

        def generate_trace_id(self) -> int:
            ids = _next.get()
            return int(ids.trace, 16) if ids else super().generate_trace_id()

        def generate_span_id(self) -> int:
            ids = _next.get()
            return int(ids.span, 16) if ids else super().generate_span_id()

    provider = TracerProvider(ALWAYS_ON, Resource({}), shutdown_on_exit=False, id_generator=Given())
    tracer = provider.get_tracer("flowml")
    return tracer if isinstance(tracer, Tracer) else None
