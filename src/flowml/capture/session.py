"""The story of one tracked call.

Open its run, describe what goes in, let the user's code work, describe what comes out, close.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from flowml import describe, records, settings, store
from flowml.capture.guard import Log, forget, guarded
from flowml.options import Track

_current: ContextVar[Session | None] = ContextVar("flowml_session", default=None)


@dataclass(frozen=True, slots=True)
class Call:
    """What is known about one call when it begins."""

    identity: records.Identity
    arguments: Mapping[str, Any]
    hints: Mapping[str, Any]  # resolved annotations by argument name, and "return"
    track: Track | None  # None: not tracked, nor what is called inside
    log: Log
    failure: Callable[[Any], BaseException | None]  # the error in a returned value, where the orchestrator sees one
    find_caller: Callable[[], records.Caller | None]  # asked who called, where no session is current to say so
    announce: Callable[[records.Caller], None]  # told of the run, to pass it on to where this context does not reach


class Session:
    """One tracked call, from its beginning to its end.

    Attributes:
        call: What was called, by whom, with what.
        run: Where its records go.
    """

    __slots__ = ("_ended", "_overflows", "_params", "_steps", "call", "run")

    def __init__(self, call: Call, run: store.Run) -> None:
        self.call = call
        self.run = run
        self._steps = 0
        self._ended = 0
        self._params: dict[str, str] = {}
        self._overflows = 0

    @classmethod
    def begin(cls, call: Call) -> Session:
        """Open the run and log the inputs, before the user's code can change them."""
        caller = current()
        session = cls(call, store.NO_RUN)
        with session.guard("open the run"):
            if caller is None:
                forget()
                settings.reload()
            session.run = session._open(caller)
        try:
            session._announce()
            if session.run is not store.NO_RUN:
                with session.guard("log the inputs"):
                    session.put(describe.inputs(_chosen(call), call.hints))
        except BaseException as error:
            session.failed(error)
            raise
        return session

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this the current session, and its run MLflow's active one, while the user's code runs."""
        token = _current.set(self)
        try:
            with self.run.active(), store.autologging(self.call.track.autolog if self.call.track else False):
                yield
        finally:
            _current.reset(token)

    def put(self, found: list[records.Record]) -> None:
        """Log records; what the run has too many parameters for goes to a file."""
        found = [self._renamed(record) if isinstance(record, records.Param) else record for record in found]
        room = describe.MOST_PARAMS - len(self._params)
        if sum(isinstance(record, records.Param) for record in found) > room:
            self._overflows += 1
            found = describe.fit(found, most_params=room, overflow=f"params/{self._overflows}.json")
        self._params |= {record.key: record.value for record in found if isinstance(record, records.Param)}
        self.run.put(found)

    def _renamed(self, param: records.Param) -> records.Param:
        """Give a parameter that has another value already a key of its own: MLflow keeps the first value only."""
        key, number = param.key, 2
        while self._params.get(key, param.value) != param.value:
            key, number = f"{param.key}.{number}", number + 1
        return records.Param(key, param.value)

    def yielded(self, value: Any) -> None:
        """Log one value of a generator, at the next step."""
        if self._logs_outputs:
            with self.guard("log what was yielded"):
                call = self.call
                self.put(describe.yielded(value, call.identity.owner, self._steps, call.hints.get("return")))
        self._steps += 1

    def returned(self, value: Any) -> None:
        """Log the outputs and close the run; a returned failure closes it as one. `settle` is the caller's to call."""
        self._ended = _now()
        error = self.call.failure(value)
        if error is not None:
            self.failed(error)
            return
        try:
            self._log_outputs(value)
        finally:
            self._close("FINISHED")

    def _log_outputs(self, value: Any) -> None:
        if self._logs_outputs:
            with self.guard("log the outputs"):
                call = self.call
                self.put(describe.outputs(value, call.identity.owner, call.hints.get("return"), inputs=call.arguments))

    def failed(self, error: BaseException) -> None:
        """Log the error with its traceback and close the run as failed; what the user sees is this error alone."""
        self._ended = self._ended or _now()
        with self.guard("log the error", raising=False):
            self.run.put(_records_of(error))
        self._close("FAILED")
        self.settle(raising=False)

    def settle(self, *, raising: bool = True) -> None:
        """Wait until all that was logged is in MLflow, if this is the outermost call in this process.

        Raises:
            TrackingError: If something is not, and ``on_error="raise"`` asks to know.
        """
        with self.guard("log everything", raising=raising):
            self.run.settle()

    def _announce(self) -> None:
        """Tell calls in other processes of this run; that it has none, if it cannot be created now."""
        told = store.NO_RUN.as_caller(self.call.identity.tag)
        try:
            with self.guard("create the run"):
                told = self.run.as_caller(self.call.identity.tag)
        finally:
            with self.guard("tell other processes of the run"):
                self.call.announce(told)

    def _open(self, caller: Session | None) -> store.Run:
        track = self.call.track
        if track is None or not settings.current().enabled:
            return store.NO_RUN
        if caller is not None:
            return store.open_run(self.call.identity, track=track, parent=caller.run)
        elsewhere = self.call.find_caller()
        parent = store.join(elsewhere) if elsewhere else None
        return store.open_run(self.call.identity, track=track, parent=parent)

    def _close(self, status: records.Status) -> None:
        with self.guard("close the run", raising=False):
            self.run.close(status, self._ended)

    @property
    def _logs_outputs(self) -> bool:
        return self.run is not store.NO_RUN and self.call.track is not None and self.call.track.outputs

    def guard(self, doing: str, *, raising: bool = True) -> AbstractContextManager[None]:
        """Keep what goes wrong inside from the user's code; ``doing`` says in the log what was tried."""
        track = self.call.track
        wanted = (track.on_error if track else None) or settings.on_error()
        return guarded(doing, self.call.log, raising=raising and wanted == "raise")


_OFF = Session(
    Call(
        records.Identity(name="", kind="flow", owner="", attempt=0, started=0, source=None, tags={}, tag=("", "")),
        arguments={},
        hints={},
        track=None,
        log=logging.getLogger("prefect.flowml"),
        failure=lambda _: None,
        find_caller=lambda: None,
        announce=lambda _: None,
    ),
    store.NO_RUN,
)


def current() -> Session | None:
    """Return the session whose user code is running here, if any."""
    return _current.get()


def is_off() -> bool:
    """Tell whether nothing is tracked here: inside `disabled`, or inside a call that has no run."""
    session = _current.get()
    return session is not None and session.run is store.NO_RUN


@contextmanager
def disabled() -> Iterator[None]:
    """Turn tracking off for the flows and tasks that are called inside; they are then exactly Prefect's.

    Example:
        >>> with flowml.disabled():
        ...     training()
    """
    token = _current.set(_OFF)
    try:
        yield
    finally:
        _current.reset(token)


def _chosen(call: Call) -> Mapping[str, Any]:
    """Return the arguments that ``Track(inputs=...)`` lets through."""
    wanted = call.track.inputs if call.track else False
    if isinstance(wanted, bool):
        return call.arguments if wanted else {}
    return {name: value for name, value in call.arguments.items() if name in wanted}


def _records_of(error: BaseException) -> list[records.Record]:
    """Describe an error; its type comes through also where its own text fails."""
    kind = type(error)
    try:
        text = str(error)
    except Exception as another:  # noqa: BLE001 - a __str__ of the user's
        text = f"<its text failed with {type(another).__name__}>"
    lines = traceback.format_exception(kind, error, error.__traceback__)
    return [
        records.Tag("flowml.error_type", kind.__qualname__),
        records.Tag("flowml.error", describe.mask(text)[:1000]),
        records.Text("traceback.txt", describe.mask("".join(lines))),
    ]


def _now() -> int:
    return time.time_ns() // 1_000_000
