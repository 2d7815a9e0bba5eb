"""A run that a call's records go to: its own, or one that another process opened."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from uuid import uuid4

from flowml import formats, records, settings
from flowml.errors import TrackingError
from flowml.store import digests
from flowml.store.backend import mlflow_state, urls
from flowml.store.by_hand import fluent
from flowml.store.by_hand.logged import HeldParams, Logged
from flowml.store.by_hand.opened import Stack
from flowml.store.by_hand.plain_calls import PlainCalls
from flowml.store.flow_end.summary import CallSummary, SummarizedCall
from flowml.store.lazy_store import LazyStore
from flowml.store.sending import creation
from flowml.store.sending.child_notes import notes_below
from flowml.store.sending.writer import writer_of
from flowml.store.usage import sums as usage
from flowml.store.usage.spent import Spent
from flowml.store.usage.sums import Usage
from flowml.store.waiting import journaled
from flowml.store.waiting.delay import delay_below
from flowml.store.waiting.intake import enqueue
from flowml.store.waiting.queue import Closing, Created, Outgoing, Sendable

if TYPE_CHECKING:
    from mlflow import ActiveRun

    from flowml.records import Children
    from flowml.store.backend.connection import Connection

Say = Callable[[str], None]


class JoinedRun:
    """A run that another process opened, and will close.

    Args:
        store: The store it is in.
        out: What it has to send.
        children: Which of its children get runs.
    """

    held: HeldParams | None = None
    joins = False

    def __init__(self, store: LazyStore, out: Outgoing, children: Children = "all") -> None:
        self.store = store
        self.out = out
        self.children = children
        self._sends_in = os.getpid()
        self.pid = os.getpid()  # a forked child has its parent's runs, but not the thread that sends for them
        self.stack = Stack()
        self.logged = Logged()
        self.apart: list[tuple[str, str, str]] = []  # the user's runs below it in other experiments: name and ids
        self._active_run: ActiveRun | None = None
        self._said = store.said()
        self._told: records.Caller | None = None

    @property
    def target(self) -> JoinedRun:
        """Itself: those called in it hang under it."""
        return self

    @property
    def own(self) -> OwnRun | None:
        """Nothing: another process has opened it."""
        return None

    @property
    def connection(self) -> Connection:
        """The connection to its store; asking chooses the store, where that is still open."""
        return self.store.connection

    @property
    def info(self) -> records.CurrentRun | None:
        """Which run it is, with its page."""
        self._leave_to_parent()
        info = writer_of(self.connection).created(self.out).info
        return dataclasses.replace(info, url=self.connection.page_of(info.experiment_id, info.run_id))

    @property
    def is_known(self) -> bool:
        """Whether it is created, so that nobody has to wait to know which it is."""
        return not self.store.is_open and self.out.created.done()

    @property
    def is_outermost(self) -> bool:
        """Whether nothing above it in this process waits until all is in MLflow."""
        return True

    def put(self, new_records: Iterable[records.Record]) -> None:
        """Hand the records to the store's writer, now or when it is known which store that is."""
        self._leave_to_parent()
        self._hand_over(list(new_records))

    def _hand_over(self, new_records: list[records.Record], closing: Closing | None = None) -> None:
        out, taken, problems = self.out, list[Sendable](), list[TrackingError]()
        self.logged.note_prompts(new_records)
        try:
            for record in new_records:
                if isinstance(record, records.Digest):
                    digests.add(record, self.tell)
            taken, problems = enqueue(new_records, "" if self.store.is_open else self.connection.uri)
        finally:
            journaled.take(out, taken, closing)
            if closing:
                self.store.when_fixed(lambda connection: writer_of(connection).close(out, closing))
            else:
                self.store.when_fixed(lambda connection: writer_of(connection).tell(out))
        if problems:
            raise TrackingError.of(problems)

    def put_span(self, span: records.Span, trace: records.Trace | None = None) -> None:
        """Log a span of a call in this run; those of a flow run are sent together, with its outermost run.

        Args:
            span: The span.
            trace: The trace, of which this run is the source, if it is over with that span.
        """
        self._leave_to_parent()
        outermost = self.out if self.is_outermost else self.out.root or self.out
        if self.own and span.of == self.out.key:
            outermost.traced[span.of] = self.out
        for out, record in ((outermost, span), (self.out, trace)):
            if record is not None:
                journaled.take(out, [record])
                self.store.when_fixed(lambda connection, out=out: writer_of(connection).tell(out))  # type: ignore[misc]

    def note_loss(self, text: str) -> None:
        """Note on the outermost run what is lost of this call, and why."""
        self._leave_to_parent()
        (root := self.out.root or self.out).losses.add(text)
        journaled.note(root, "loss", text)
        self.store.when_fixed(lambda connection: writer_of(connection).tell(root))

    def tell(self, new_records: Iterable[records.Record]) -> None:
        """Log what became known of this very call, also after it was closed."""
        self.put(new_records)

    def new_of(self, described: list[records.Record]) -> list[records.Record]:
        """Return those records that the user's code has not logged by hand already."""
        return [record for record in described if not self.logged.has(record, self.stack.by_hand)]

    def active(self, say: Say) -> AbstractContextManager[None]:
        """Make this run the active one in this context."""
        return fluent.activated(PlainCalls(self, say))

    def opened_run(self) -> JoinedRun:
        """Return itself: it is there."""
        return self

    def nearest(self) -> JoinedRun:
        """Return itself."""
        return self

    def id_if_created(self) -> str | None:
        """Return the run's id, if it was created."""
        return creation.id_of(self.out)

    def active_run(self) -> ActiveRun:
        """Return the run as plain ``mlflow.*`` calls see it; it is created in this thread if it is not yet.

        Raises:
            TrackingError: If it cannot be had.
            Exception: What MLflow raises.
        """
        if self._active_run is None:
            from mlflow import ActiveRun

            created, client = self._created_here(), self.connection.client
            self._active_run = ActiveRun(created.entity or client.get_run(created.info.run_id))
        return self._active_run

    def _created_here(self) -> Created:
        self._leave_to_parent()
        return creation.ensure(self.connection, self.out)

    def _leave_to_parent(self) -> None:
        """In a forked process, leave what its parent has to send to that, and the run's creation too."""
        if self._sends_in != os.getpid():
            self.out, self._sends_in = self.out.for_a_fork(), os.getpid()

    def as_caller(self) -> records.Caller:
        """Tell of this run and its store; of one that MLflow does not take now, the key that finds it later."""
        try:
            # The same for each call below: looking for its page reads files, and each read hands Python's lock over.
            if self._told is None:
                self._told = self.connection.caller(self.info, self.children, self.out.delay.key)
        except TrackingError as problem:
            if not (problem.waits and self.out.journal):
                raise
            told = self.connection.caller(None, self.children, self.out.delay.key)
            return dataclasses.replace(told, key=self.out.public_key)
        return self._told

    def close(self, status: records.Status | None, ended: int, about: Iterable[records.Record] = ()) -> None:  # noqa: ARG002 - the one who opened it says when
        """Leave closing it to whoever opened it."""
        if self.is_outermost:
            fluent.end_what_was_left(self.stack, status or "FINISHED")

    def use(self, used: Usage) -> None:
        """Tell whoever will close it what was used here by a call without a run, as a part of its own."""
        if used:
            self.put([records.Tag(f"{usage.TAG}.{uuid4().hex[:12]}", used.as_text())])

    def sum_up(self, child: SummarizedCall) -> Outgoing:
        """Note a child without a run for the process that will close this one; return what that is sent with."""
        self._leave_to_parent()
        return notes_below(self.connection.uri, self.out, os.getpid()).add(child, writer_of(self.connection).put)

    def is_open(self) -> bool:
        """Ask MLflow whether it was closed meanwhile."""
        self._leave_to_parent()
        writer = writer_of(self.connection)
        run_id = writer.created(self.out).info.run_id
        return str(writer.ask(lambda: self.connection.client.get_run(run_id), self.out.delay).info.status) == "RUNNING"

    def settle(self) -> None:
        """Wait until all that was logged to it here is in MLflow.

        Raises:
            TrackingError: If something is not.
        """
        digests.wait(patience := settings.current().timeout)
        writer = writer_of(self.connection)
        try:
            writer.flush(of=self.out, delay=self.out.delay)
        except TrackingError as problem:
            patience = 0.0  # nobody answers MLflow's own exporter either
            count = writer.count_waiting(self.out) or writer.count_waiting()  # of another process's run: those below it
            raise journaled.waiting(self.out, problem, count) from None
        finally:
            mlflow_state.flush_traces(patience)
            self.out.delay.forget()
        if self.out.problems:
            raise TrackingError.of(self.out.problems)


class OwnRun(JoinedRun):
    """A run of its own in MLflow.

    Args:
        store: The store it is in.
        out: What it has to send; the run is created with the rest.
        above: The run it hangs under; None for a root.
        identity: Whose it is; a flow's carries its children's metrics.
        children: Which of its children get runs.
    """

    def __init__(
        self,
        store: LazyStore,
        out: Outgoing,
        above: JoinedRun | None,
        *,
        identity: records.Identity,
        children: Children,
    ) -> None:
        super().__init__(store, out, children)
        self._tag = identity.tag
        self.call_summary = CallSummary() if children != "all" else None
        self._above = above
        self._spent_below = Spent()
        self._is_flow = identity.kind == "flow"
        self.held = HeldParams() if identity.retries else None
        if self._is_flow or above is None:
            journaled.begin(out)  # of a task it is written with its inputs, which come before its body
        if above is None or (out.new and out.new.is_root):
            store.when_fixed(lambda _: journaled.note_store(out))
        store.when_fixed(lambda connection: writer_of(connection).tell(out))

    @property
    def own(self) -> OwnRun:
        """Itself; not an attribute, which would be a cycle for the garbage collector."""
        return self

    @property
    def is_known(self) -> bool:
        """Whether it is known how others find it: one near the root when that is, another when it is created."""
        return self._above.is_known if self._above and self._is_near_root else super().is_known

    @property
    def _is_near_root(self) -> bool:
        """Whether it is in the root's experiment, where a tag finds it."""
        return self.out.new is not None and self.out.new.experiment is None

    def also_below(self, run_id: str) -> None:
        """Note a run of the user's in which tasks of this flow were called: they are below it, and are this flow's."""
        self.out.runs_around_tasks.add(run_id)

    def begin_attempt(self, attempt: int) -> None:
        """Go on with another attempt of the same flow run."""
        if self.held:
            self.held.attempt = attempt

    def as_caller(self) -> records.Caller:
        """Tell of a run, which is waited for; of one near the root, tell how it is found there."""
        if self._above is None or not self._is_near_root:
            return super().as_caller()
        above = self._above.as_caller()
        return dataclasses.replace(
            above, children=self.children, tag=self._tag if above.run else None, key=self.out.key
        )

    def sum_up(self, child: SummarizedCall) -> Outgoing:
        """Count a child without a run; a forked process notes it for the one that has the run."""
        if self.call_summary is None or is_elsewhere(self):
            return super().sum_up(child)
        journaled.note(self.out, "child", dataclasses.asdict(child))
        self.call_summary.add(child)
        return self.out

    def close(self, status: records.Status | None, ended: int, about: Iterable[records.Record] = ()) -> None:
        """Close the run; those that the user's code left open are ended with the outermost."""
        known = list(about)
        try:
            if self.is_outermost and status:
                fluent.end_what_was_left(self.stack, status)
            else:
                self.stack.leave()
            known += self._by_hand(status)
        finally:
            self.out.is_ending = bool(status)
            try:
                self._hand_over(known, Closing(status, ended, self._is_flow, self.call_summary) if status else None)
            finally:
                if self.is_outermost:
                    self.store.fix()
                else:
                    self.store.fix_unless_named(self._said)

    def _by_hand(self, status: records.Status | None) -> list[records.Record]:
        """Return what is known at the end of what the user's code logged by hand."""
        logged = self.logged
        found: list[records.Record] = [records.ByHand(logged.params, logged.own_params)] if logged else []
        if self.apart and not self._is_flow and self.out.new:
            links = [formats.link(name, urls.of_run(*ids)) for name, *ids in self.apart]
            before = self.out.new.tags.get(urls.NOTE)
            found.append(records.Tag(urls.NOTE, " · ".join([*([before] if before else []), *links])))
        found += self._used() if status else []
        return [*found, *self.held.records()] if self.held and status else found

    def use(self, used: Usage) -> None:
        """Count what a call inside has used that no flow's end will sum up."""
        if is_elsewhere(self):
            super().use(used)
        else:
            self.logged.spent.add(used)

    def _used(self) -> list[records.Record]:
        """Return what it asked of language models; a flow's end adds what was called in it."""
        used = self.logged.spent.usage()
        total = used + self._spent_below.usage()
        if not total:
            return []
        if self._above and self._above.own and not is_elsewhere(self._above):
            self._above.own.count_below(total)
        if self._is_flow:
            return [records.Tag(usage.OWN, used.as_text())] if used else []
        return total.records(without=self.logged.names())

    def count_below(self, used: Usage) -> None:
        """Count what a call right below it has used: of a flow's children MLflow tells at its end, also of others."""
        self._spent_below.add(used)

    @property
    def is_outermost(self) -> bool:
        """Whether nothing above it in this process waits until all is in MLflow."""
        return self._above is None or is_elsewhere(self._above)

    def settle(self) -> None:
        """Wait until all is in MLflow, if this is the outermost run of the process.

        Raises:
            TrackingError: If something is not.
        """
        if self.is_outermost:
            super().settle()


def is_elsewhere(run: JoinedRun) -> bool:
    """Tell whether a run was opened by another process, such as the one that this was forked from."""
    return run.own is None or run.own.pid != os.getpid()


def joined(
    store: LazyStore, info: records.CurrentRun, children: Children = "all", delay_key: str | None = None
) -> JoinedRun:
    """Return a run that exists already, to hang others under."""
    out = Outgoing(None, None, store=store.place, own_delay=delay_below(info.run_id, delay_key))
    out.created.set_result(Created(None, info))
    return JoinedRun(store, out, children)
