"""A trace as one process has it: MLflow's registry is told of it, and told again, and made to forget it.

MLflow's tracer looks a span's trace up there, and its exporter the experiment. It forgets a trace that is not ended
within an hour.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from flowml.errors import FlowmlError
from flowml.locks import RLock

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo

PREFIX = "tr-"
"""How ids of traces begin in MLflow."""

_OFTEN = 4  # as often as the registry forgets a trace, it is told of it again: that is after an hour by default
_QUEUED = 60.0  # seconds after its end that a span may still wait to be exported


class Home:
    """A trace as this process has it, from the first call in it on.

    Args:
        trace: Its id.
        started: When it began here, in milliseconds since 1970.

    Attributes:
        inside: How many calls have come in and not left.
        ask: Returns its experiment, which may have to be waited for; asked when something else than flowml makes a
            span in it, for MLflow's exporter has to know, and cannot wait.
    """

    _all: ClassVar[dict[str, Home]] = {}
    _entering = RLock()
    _is_kept = False

    @classmethod
    def enter(cls, trace: str, started: int) -> Home:
        """Return a trace for a call that comes in from elsewhere, which is to `leave` it; of several, the same."""
        with cls._entering:
            home = cls._all.setdefault(trace, cls(trace, started))
            home.inside += 1
            if not cls._is_kept:
                cls._is_kept = True
                threading.Thread(target=cls._keep, args=[_fresh()], name="flowml-traces", daemon=True).start()
        return home

    @classmethod
    def _keep(cls, seconds: float) -> None:
        """Tell the registry again of traces whose calls work for long; ends when there are none."""
        never = threading.Event()
        while not never.wait(seconds):
            with cls._entering:
                homes = list(cls._all.values())
                cls._is_kept = bool(homes)
                if not homes:
                    return
            for home in homes:
                home.tell(again=True)

    @classmethod
    def begin_anew(cls) -> None:
        """Note in a forked process that no thread of its parent's goes on there."""
        cls._is_kept = False

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
        self.ask: Callable[[], str | None] | None = None
        self.trace = trace
        self._started = started
        self._info: TraceInfo | None = None
        self._experiment_id: str | None = None
        self._lock = RLock()

    @property
    def is_placed(self) -> bool:
        """Whether it is known in which experiment it is."""
        return self._experiment_id is not None

    @property
    def trace_id(self) -> str:
        """Its id in MLflow."""
        return PREFIX + self.trace

    def tell(self, *, again: bool = False) -> None:
        """Have MLflow's registry know the trace.

        Args:
            again: Also where it does: it forgets a trace that is not ended within an hour.
        """
        from mlflow.tracing.trace_manager import InMemoryTraceManager

        manager, oldest = InMemoryTraceManager.get_instance(), time.time_ns() - int(_QUEUED * 1e9)
        with self._lock, manager.get_trace(self.trace_id) as before:
            if before and self._info and not again:
                return
            if self._info is None:
                self._info = before.info if before else self._new_info()
            spans = list(before.span_dict.values()) if before else []
            manager.register_trace(int(self.trace, 16), self._info)
            for span in spans:
                if span.end_time_ns is None or span.end_time_ns > oldest:
                    manager.register_span(span)

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

    def place(self) -> None:
        """Have it known in which experiment it is; once, so that a server that is away delays nobody again."""
        ask, self.ask = self.ask, None
        if ask and not self.is_placed:
            with suppress(FlowmlError):  # MLflow cannot be reached: what it traces by itself has nowhere to go
                experiment_id = ask()
                if experiment_id is not None:
                    self.is_in(experiment_id)

    def noted(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the tags and the metadata that the user's code, or MLflow's, has noted on the trace here."""
        with self._lock:
            return (dict(self._info.tags), dict(self._info.trace_metadata)) if self._info else ({}, {})


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Home.begin_anew)


def _fresh() -> float:
    """Return the seconds after which the registry is told of a trace again."""
    from mlflow.environment_variables import MLFLOW_TRACE_BUFFER_TTL_SECONDS

    return float(MLFLOW_TRACE_BUFFER_TTL_SECONDS.get()) / _OFTEN
