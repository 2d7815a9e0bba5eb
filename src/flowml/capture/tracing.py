"""Which span a tracked call has in the trace of its flow run: when it begins, what it shows, how it ends.

The outermost call that is traced begins the trace. A call below has the span of its attempt below its caller's, which
it knows by the current session, or from another process by what came with the call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any
from uuid import UUID

from flowml import describe, records, settings, store
from flowml.capture.call import Call
from flowml.capture.verdict import Verdict

_IDS = ("prefect.flow_run_id", "prefect.flow_run_url", "prefect.task_run_id", "prefect.task_run_url")
_ALL = 2**64


class CallSpan:
    """A call's place in a trace; where it has no span of its own, what is called in it is below its caller's.

    Args:
        call: The call; None for one that is not traced.
        run: Its run.
        span: Its span, if it has one.
        ids: The span that what it calls is below; None if that is not traced.
        foreign_tasks: Whether plain Prefect tasks that are called in it are tracked.
        home: Its trace, as this process has it; None for one that is not traced.
        is_first: Whether it is the first of its trace.
        is_entry: Whether it is the first that this process has in the trace, or its like.
    """

    __slots__ = ("_call", "_is_entry", "_is_first", "_run", "_span", "foreign_tasks", "home", "ids")

    def __init__(  # noqa: PLR0913 - each is given by its name
        self,
        call: Call | None = None,
        run: store.Run = store.NO_RUN,
        span: store.OwnSpan | None = None,
        ids: records.SpanIds | None = None,
        home: store.Home | None = None,
        *,
        foreign_tasks: bool = False,
        is_first: bool = False,
        is_entry: bool = False,
    ) -> None:
        self.ids = ids
        self.home = home
        self.foreign_tasks = foreign_tasks
        self._is_entry = is_entry
        self._call = call
        self._run = run
        self._span = span
        self._is_first = is_first

    def active(self) -> AbstractContextManager[None]:
        """Have spans that are made in this context come below it."""
        return self._span.active() if self._span else nullcontext()

    def given(self) -> None:
        """Show what the call was given."""
        if self._span and self._call:
            self._span.given(describe.shown_inputs(self._call.logged_arguments(), self._call.hints))

    def gave(self, value: Any) -> None:
        """Show what it returned."""
        if self._span and self._call:
            identity, hints = self._call.identity, self._call.hints
            self._span.gave(describe.shown_output(value, identity.owner, hints.get("return")))

    def end(self, verdict: Verdict, about: Iterable[records.Record]) -> None:
        """Log the span, and the trace that is over with it, as the orchestrator says how the call ended.

        Args:
            verdict: The orchestrator's verdict; another one may correct it later.
            about: What is logged of the end on the call's run.
        """
        if self._span is None or self._call is None:
            return
        kind, text, trace = _error_in(about)
        if kind:
            self._span.failed(kind, text, trace, verdict.ended)
        if verdict.status is None:
            return  # it goes on
        state = {"prefect.state": verdict.state} if verdict.state else {}
        self._span.note({**state, **({"flowml.cached": True} if verdict.cached else {})})
        is_ok = verdict.status == "FINISHED"
        why = "" if is_ok else f"{kind}: {text}" if kind else verdict.state or verdict.status
        target, own = self._run.target, self._run.own
        if target:
            fields = self._span.ended(verdict.ended, is_ok=is_ok, why=why)
            span = records.Span(fields, own.out.key if own else "")
            target.put_span(span, self._trace(verdict, is_ok=is_ok) if self._is_first else None)

    def _trace(self, verdict: Verdict, *, is_ok: bool) -> records.Trace | None:
        if self._span is None or self._call is None:
            return None
        tags, metadata = self._span.home.noted()
        request, response = self._span.previews
        identity = self._call.identity
        return records.Trace(
            self._span.home.trace_id,
            identity.owner,
            identity.started,
            verdict.ended,
            is_ok,
            request,
            response,
            tags,
            metadata,
        )

    def handed_on(self, caller: records.Caller) -> records.Caller:
        """Complete what other processes are told of the call's run."""
        return replace(caller, span=self.ids, foreign_tasks=self.foreign_tasks)

    def leave(self) -> None:
        """Free what this process holds of the trace, if nothing else is at work in it: all is sent."""
        if self._is_entry and self.home:
            self._is_entry = False
            self.home.leave()


NO_SPAN = CallSpan()


def begin(call: Call, run: store.Run, caller: CallSpan | None, sender: records.Caller | None) -> CallSpan:
    """Begin the span of a call, if it is to have one.

    Args:
        call: The call.
        run: Its run.
        caller: That of the call it was made in, in this process.
        sender: The call that it was made in, in another process.

    Returns:
        Its place in a trace, if it has one.
    """
    around = caller or sender
    wanted, foreign = (call.track.trace, call.track.foreign_tasks) if call.track else (False, False)
    foreign = foreign or bool(around and around.foreign_tasks)
    above = caller.ids if caller else sender.span if sender else None
    home = caller.home if caller else None
    if above is not None and wanted is False:
        return CallSpan(ids=above, home=home, foreign_tasks=foreign)
    begins_one = above is None and _begins_one(call, wanted, is_outermost=around is None)
    if not (above or begins_one) or not store.is_on():
        return CallSpan(foreign_tasks=foreign)
    is_entry = home is None
    home = home or store.Home.enter(above.trace if above else UUID(call.identity.tag[1]).hex, call.identity.started)
    span = _span(call.identity, home, above)
    if not home.is_placed:
        _place(home, run, sender)
    if run.own:
        above_it = [records.Tag("flowml.parent_span_id", above.span)] if above else []
        own = [records.Tag("flowml.trace_id", home.trace_id), records.Tag("flowml.span_id", span.ids.span)]
        run.put([*own, *above_it])
    return CallSpan(call, run, span, span.ids, home, foreign_tasks=foreign, is_first=above is None, is_entry=is_entry)


def _place(home: store.Home, run: store.Run, sender: records.Caller | None) -> None:
    """Have the trace know its experiment: from the caller in another process, or from the run when that is known."""
    if sender and sender.run:
        home.is_in(sender.run.experiment_id)
    elif target := run.target:
        home.ask = lambda: target.info.experiment_id if target.info else None
        place = home.is_in
        store.when_known(run, lambda told: place(told.run.experiment_id) if told.run else None)


def _span(identity: records.Identity, home: store.Home, above: records.SpanIds | None) -> store.OwnSpan:
    is_task = identity.kind == "task"
    attempt = identity.attempt if is_task else 1  # the attempts of a flow run are one span, for its run is one, too
    ids = {key: identity.tags[key] for key in _IDS if key in identity.tags}
    name = "prefect.task_run_name" if is_task else "prefect.flow_run_name"
    return store.OwnSpan(
        home,
        store.ids_of(home.trace, f"{identity.tag[1]} {attempt}"),
        above,
        name=identity.owner,
        kind="TASK" if is_task else "WORKFLOW",
        started=identity.started,
        attributes={**ids, name: identity.name, "flowml.attempt": identity.attempt},
    )


def _begins_one(call: Call, wanted: bool | None, *, is_outermost: bool) -> bool:  # noqa: FBT001 - private, and clear here
    """Tell whether a call that is in no trace begins one."""
    chosen = settings.current()
    if not (chosen.trace and is_outermost if wanted is None else wanted):
        return False
    # By the id: each process comes to the same, also when the flow run is tried again, or goes on elsewhere.
    drawn = int(hashlib.sha256(call.identity.tag[1].encode()).hexdigest()[:16], 16)
    return drawn < chosen.trace_sampling_rate * _ALL


def _error_in(about: Iterable[records.Record]) -> tuple[str, str, str]:
    """Return the type, text and traceback of the error in what is logged of an end; empty without one."""
    kind = text = trace = ""
    for record in about:
        match record:
            case records.Tag(key, value) if key.endswith("error_type"):
                kind = value
            case records.Tag(key, value) if key.endswith("error"):
                text = value
            case records.Text(_, value):
                trace = value
    return kind, text, trace
