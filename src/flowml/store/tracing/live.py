"""Spans while their calls work: made by a tracer of flowml's own, and known to MLflow's, so that others come below.

MLflow's tracer would ask for the experiment as soon as a trace begins, and a flow's run is opened late. So the spans
come from a tracer that exports nothing; MLflow's registry of traces knows them, and what ``mlflow.trace`` or an
autologged client makes meanwhile is below the span that is active in the context. Those go to MLflow by its own
exporter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import wrapt
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from flowml import records
from flowml.store.tracing.home import Home

if TYPE_CHECKING:
    from mlflow.entities import LiveSpan
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

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
        self._span = cast("LiveSpan", create_mlflow_span(_Above(made, home), home.trace_id, kind))
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
        made: dict[str, Any] = json.loads(json.dumps(self._span.to_dict(), default=_plain))
        status = {"code": "STATUS_CODE_OK" if is_ok else "STATUS_CODE_ERROR", "message": why}
        return {**made, "end_time_unix_nano": at * 1_000_000, "status": status}


def _plain(value: object) -> object:
    """Return what JSON can hold: OpenTelemetry has mappings of its own, and attributes may be bytes."""
    return dict(value) if isinstance(value, Mapping) else str(value)


class _Above(wrapt.ObjectProxy):  # type: ignore[type-arg] # older ones cannot be subscripted
    """A span of flowml's, as others see it: whoever makes a span below it asks for its ids."""

    def __init__(self, span: Span, home: Home) -> None:
        super().__init__(span)
        self._self_home = home

    def get_span_context(self) -> SpanContext:
        """Return its ids, when it is known where what is below it goes to."""
        self._self_home.place()
        found: SpanContext = self.__wrapped__.get_span_context()
        return found


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
