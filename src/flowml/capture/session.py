"""The story of one tracked call: open its run, describe what goes in and what comes out, close."""

from __future__ import annotations

import os
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from flowml import describe, formats, lineage, records, settings, store
from flowml.background import PATIENCE, BackgroundJob
from flowml.capture.beside import Beside
from flowml.capture.call import Ahead, Call
from flowml.capture.explaining import explain
from flowml.capture.guard import Guard, Said, elsewhere, said_under
from flowml.capture.tracing import NO_SPAN, CallSpan, begin
from flowml.capture.verdict import Verdict, records_of
from flowml.errors import FlowmlError

_MAY_FAIL = (records.Model, records.Text, records.Blob, records.File)  # to be copied: what is said is of the outputs

_current: ContextVar[Session | None] = ContextVar("flowml_session", default=None)


class Session:
    """One tracked call, from its beginning to its end.

    Attributes:
        call: What was called, by whom, with what.
        run: Where its records go.
        said: What was said in the log of its flow run.
        deferred: What the body returned, alone in a tuple, while that waits to be logged.
        metrics: The last value of each metric that was logged.
        hidden: Counts the secrets in what it was given and what it returns.
        rests: Whether it is a generator's, whose consumer goes on.
        span: Its place in the trace of its flow run, and what is handed on to those it calls.
        lineage: What a catalogue of lineage is told of it.
        returns_nothing: Whether what it returns says nothing of the user's, and is not to be logged.
        beside: What goes on while its body works.
    """

    __slots__ = (
        *("_asking", "_error", "_is_root", "_is_watched", "_params", "_steps", "_verdict"),
        *("beside", "call", "deferred", "hidden", "lineage", "metrics"),
        *("rests", "returns_nothing", "run", "said", "span"),
    )

    def __init__(self, call: Call, run: store.Run, said: Said | None = None) -> None:
        self.call = call
        self.run = run
        self.said = said or Said()
        self.beside = Beside(call)
        self.span: CallSpan = NO_SPAN
        self.lineage = lineage.NO_LINEAGE
        self.rests = self.returns_nothing = self._is_root = False
        self.deferred: tuple[Any] | None = None
        self._verdict: tuple[Verdict, list[records.Record]] | None = None  # with what tells of it
        self._steps = 0
        self._asking: list[BackgroundJob] = []
        self._error: BaseException | None = None
        self._params = describe.RunParams()
        self.metrics: dict[str, float] = {}
        self.hidden = describe.Hidden(f"{call.identity.tag[1]} {call.identity.attempt}")
        self._is_watched = call.orchestrator.run_watch() is not None  # asked once: its engine may be gone later

    @classmethod
    def begin(cls, call: Call, *, inputs: bool = True, ahead: Ahead | None = None) -> Session:
        """Open the run and log the inputs, before the user's code can change them."""
        caller, watch = current(), call.orchestrator.run_watch()
        session = cls(call, store.NO_RUN, caller.said if caller else None)
        earlier = watch.session if watch and isinstance(watch.session, Session) else None
        if watch:
            watch.session = session  # also where its run cannot be opened: this attempt has its session
        with session.guard("open the run"):
            if caller is None:
                elsewhere.forget()
                settings.reload()
                lineage.load()
            session._open(caller, earlier, ahead or Ahead())
        try:
            session._announce()
            if session.run is not store.NO_RUN:
                is_root = session._is_root and settings.current().reproduce
                session._asking += explain(call, session.put, session.run.put, session.guard, is_root=is_root)
                with session.guard("sample the machine", raising=False):
                    session.beside.begin(session.run)
                if inputs:
                    session.log_inputs()
        except BaseException as error:
            if session.failed(error):
                session.settle(raising=False)
            raise
        return session

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this the current session, and its run MLflow's active one, while the user's code runs."""
        with made_current(self), ExitStack() as entered:
            with self.guard("make it MLflow's active run"):
                entered.enter_context(self.run.active(self.call.log.info))
            with self.guard("make its span the active one", raising=False):
                entered.enter_context(self.span.active())
            with self.guard("turn autologging on"):
                entered.enter_context(store.autologging(self.call.track.autolog if self.call.track else False))
            yield

    def put(self, new_records: list[records.Record], *, into: list[records.Record] | None = None) -> None:
        """Log records, or leave them to whoever closes the run, and say in the user's log what is lost."""
        new_records = self._params.take(new_records)
        told = [*new_records, *self.hidden.records()]
        if into is None or any(isinstance(record, _MAY_FAIL) for record in told):
            self.run.put(told)
        else:
            into += told
        for record in new_records:
            if isinstance(record, records.Metric):
                self.metrics[record.key] = record.value
            elif isinstance(record, records.Lost):
                self.lost(record.what, record.why)
            elif isinstance(record, records.Remark):
                self.said.remark(record.about, record.text, self.call.log)
        self.lineage.note(new_records)

    def lost(self, what: str, why: str) -> None:
        """Say what could not be done with a value of the user's, and why; that is no failure of MLflow's to raise."""
        with self.guard(what, raising=False):
            raise FlowmlError(why)

    def log_inputs(self) -> None:
        """Log what the body is given."""
        with self.guard("log the inputs"):
            found, wanted = self.call.logged_arguments(), settings.current().model_params
            self.put(describe.inputs(found, self.call.hints, self.hidden, model_params=wanted))
            self.span.given()
            self.lineage.given(found, self.call.hints)

    def yielded(self, value: Any) -> None:
        """Log one value of a generator, at the next step."""
        if self._logs_outputs:
            with self.guard("log what was yielded"):
                name, hint = self.call.identity.owner, self.call.hints.get("return")
                self.put(describe.yielded(value, name, self._steps, hint, self.hidden))
        self._steps += 1

    def defer(self, value: Any) -> bool:
        """Leave what the body returned to `complete`, so that its run does not seem to take as long as logging it does.

        Nobody else has the value until then. An error of logging it that is to be the call's cannot wait.

        Returns:
            Whether it is left; the session goes on with `returned` otherwise.
        """
        watch = self.call.orchestrator.run_watch()
        if watch is None or not watch.completes or self._is_strict or not self._logs_outputs:
            return False
        self.take_failure(value)
        if self._error is None:
            self.deferred = (value,)
        return self._error is None

    def log_deferred(self, into: list[records.Record] | None = None) -> None:
        """Log what was left to be logged."""
        found, self.deferred = self.deferred, None
        if found:
            self.log_outputs(*found, into=into)

    def complete(self) -> None:
        """Log what was left to be logged, and close the run if its verdict has come."""
        held: list[records.Record] = []  # both in one piece, where it has a run of its own
        try:
            self.log_deferred(held if self.run.own is self.run else None)
        finally:
            self.close(held)

    def close(self, held: Iterable[records.Record] = ()) -> None:
        """Close the run by the verdict that came while something was left to be logged."""
        verdict, self._verdict = self._verdict, None
        with self.guard("close the run", raising=False):
            if verdict:
                self._close_run(*verdict, held)
            elif held:
                self.run.put(held)

    def _close_run(self, verdict: Verdict, about: list[records.Record], held: Iterable[records.Record] = ()) -> None:
        try:
            self.span.end(verdict, about)
        finally:
            self.run.close(verdict.status, verdict.ended, [*held, *about])
        self.lineage.end(verdict.status, verdict.ended, about)

    def returned(self, value: Any) -> None:
        """Log the outputs; a returned failure is one."""
        self.take_failure(value)
        self.log_outputs(value)
        self.ended()

    def take_failure(self, value: Any) -> None:
        """Note the error in what the body returned, where the orchestrator sees one."""
        self._error = self.call.orchestrator.failure(value)

    def log_outputs(self, value: Any, *, into: list[records.Record] | None = None) -> None:
        """Log what the body returned."""
        if self._error is None and self._logs_outputs:
            with self.guard("log the outputs"):
                name, hint = self.call.identity.owner, self.call.hints.get("return")
                given, wanted = self.call.arguments, settings.current()
                found = describe.outputs(
                    value, name, hint, given, models=wanted.models, model_params=wanted.model_params, hidden=self.hidden
                )
                self.put(self.run.new_of([*found, *self._about(found)]), into=into)
                self.span.gave(value)
                self.lineage.gave(value, hint)

    def _about(self, found: list[records.Record]) -> list[records.Record]:
        """Tell what the task says of itself, where it made a model: a version of that is described by it."""
        about = describe.mask(self.call.identity.about)
        made = about and any(isinstance(record, records.Model) for record in found)
        return [records.Tag(store.ABOUT, about)] if made else []

    def ended(self) -> None:
        """Conclude, now that the body has returned, if there is nobody to say how it ended."""
        self._leave(Verdict("FAILED" if self._error else "FINISHED", formats.now()))

    def failed(self, error: BaseException) -> bool:
        """Note the error with which the body ended; what the user sees is this error alone.

        Returns:
            Whether this is the time to `settle`.
        """
        if self.call.orchestrator.is_pause(error):
            is_flow = self.call.identity.kind == "flow"  # it goes on later; a task is called anew then
            self.conclude(Verdict(None if is_flow else "KILLED", formats.now(), "Suspended"))
            return True
        self._error = error
        is_stop = not isinstance(error, Exception | CancelledError) and self.call.identity.kind == "flow"
        if is_stop:  # threads may keep the process from saying more until it is killed
            self.conclude(Verdict("KILLED", formats.now(), store.STOPPING))
        else:
            self._leave(Verdict("FAILED", formats.now()))
        return is_stop or self.waits_here

    def _leave(self, verdict: Verdict) -> None:
        """Conclude with the end of the body, if there is nobody to say how it ended."""
        if not self._is_watched:
            self.conclude(verdict)

    @property
    def waits_here(self) -> bool:
        """Whether the end of the body is the time to settle: nobody does it later, or an error is to be the call's."""
        return self.run.is_outermost and (not self._is_watched or self._is_strict)

    @property
    def number(self) -> int:
        """Which attempt it is, from 1."""
        return self.call.identity.attempt

    @property
    def is_outermost(self) -> bool:
        """Tell whether nothing tracked called it."""
        return self.run.is_outermost

    def conclude(self, verdict: Verdict) -> None:
        """Close the run as the orchestrator says, once all is logged; a later verdict on an attempt counts more."""
        about: list[records.Record] = []
        with self.guard("tell how the run ended", raising=False):
            about = records_of(verdict, self._error, self.call.identity.attempt)
            about += self.beside.end(self.run)
        with self.guard("close the run", raising=False):
            if self.deferred is None:
                self._verdict = None
                self._close_run(verdict, about)
            else:
                self._verdict = verdict, about

    def tell(self, tags: Mapping[str, str]) -> None:
        """Note something about the run that became known after its body."""
        told: list[records.Record] = [records.Tag(key, value) for key, value in tags.items()]
        if self._verdict:
            self._verdict[1].extend(told)  # after what tells of the verdict: of one tag the last counts
            return
        with self.guard("tag the run", raising=False):
            self.run.tell(told)

    def settle(self, *, raising: bool = True) -> None:
        """Wait until all that was logged is in MLflow, if this is the outermost call in this process.

        Raises:
            TrackingError: If something is not, and ``on_error="raise"`` asks to know.
        """
        if self.deferred:
            return  # it is not over: whoever completes it waits
        for job in self._asking:
            job.wait(PATIENCE)
        try:
            publish_now = self.call.orchestrator.publish_now if self.run.is_outermost else nullcontext
            with publish_now(), self.guard("log everything", raising=raising):
                self.run.settle()
        finally:
            if self.run.is_outermost:
                with self.guard("link the run", raising=False):
                    self.call.orchestrator.wait_until_published()
                self.span.leave()
                lineage.settle()

    def _announce(self) -> None:
        """Note the run where the orchestrator carries it along; at the latest when that is read elsewhere."""
        with self.guard("tell other processes of the run"):
            handed_on = self._handed_on()
            self.call.orchestrator.announce(handed_on(self.run.as_caller()) if self.run.is_known else None)
            self.call.orchestrator.keep(self.run, handed_on)

    def _handed_on(self) -> Callable[[records.Caller], records.Caller]:
        """Return what completes what other processes are told of the run; it does not hold the session."""
        span, told = self.span, self.lineage
        return lambda caller: told.handed_on(span.handed_on(caller))

    def announce(self) -> records.Caller:
        """Tell calls in other processes of this run, which is created for it; that it has none, if it cannot be now."""
        caller = store.NO_RUN.as_caller()
        with self.guard("create the run", raising=False):
            caller = self._handed_on()(self.run.as_caller())
        with self.guard("tell other processes of the run", raising=False):
            self.call.orchestrator.announce(caller)
        return caller

    def _open(self, caller: Session | None, earlier: Session | None, ahead: Ahead) -> None:
        track = self.call.track
        if track is None or not settings.current().enabled:
            return
        if earlier and earlier.run is not store.NO_RUN and self.call.identity.kind == "flow":
            self.run, self.span, self.lineage = earlier.run, earlier.span, earlier.lineage
            self._params = earlier._params  # noqa: SLF001 - its finished children are there
            store.begin_attempt(self.run, attempt := self.call.identity.attempt)
            self.run.put([records.Tag("flowml.attempt", str(attempt)), records.Tag("prefect.state", "Running")])
            return
        parent = caller.run if caller else ahead.parent
        sender = None if caller else ahead.caller if ahead.is_known else self.call.orchestrator.find_caller()
        if sender and not ahead.is_known:
            parent = store.join(sender)
            self.said = said_under(str(sender.key or sender.tag or sender.run))  # as if the caller were here
        self._is_root = parent is None and self.call.identity.kind == "flow"
        self.run = store.open_run(
            self.call.identity,
            track=track,
            experiment=self.call.experiment(),
            parent=parent,
            follows=earlier.run if earlier else None,
            reached=ahead.reached,
        )
        with self.guard("begin its span", raising=False):
            self.span = begin(self.call, self.run, caller.span if caller else None, sender)
            known = caller.lineage.ids if caller else sender.lineage if sender else None
            self.lineage = lineage.begin(self.call.identity, known)
        with self.guard("link the run", raising=False):
            self.call.orchestrator.publish(self.run)

    @property
    def _logs_outputs(self) -> bool:
        wanted = self.call.track is not None and self.call.track.outputs and not self.returns_nothing
        return wanted and self.run is not store.NO_RUN

    @property
    def _is_strict(self) -> bool:
        return ((self.call.track.on_error if self.call.track else None) or settings.on_error()) == "raise"

    def guard(self, doing: str, *, raising: bool = True) -> AbstractContextManager[None]:
        """Keep what goes wrong inside from the user's code; ``doing`` says in the log what was tried."""
        raising = raising and self._is_strict
        return Guard(doing, self.call.log, raising=raising, said=self.said, note=self.run.note_loss)


def current() -> Session | None:
    """Return the session whose user code is running here, if any."""
    return _current.get()


def is_off() -> bool:
    """Tell whether nothing is tracked here: inside `disabled`, or inside a call that has no run."""
    return (session := _current.get()) is not None and session.run is store.NO_RUN


@contextmanager
def made_current(session: Session | None) -> Iterator[None]:
    """Make a session the current one, or none, and leave what MLflow sees as it is."""
    token = _current.set(session)
    try:
        yield
    finally:
        _current.reset(token)


def _before_fork() -> None:
    if here := current():
        here.beside.before_fork(here.run)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)  # the last of these comes first: before the one that stops the sender
