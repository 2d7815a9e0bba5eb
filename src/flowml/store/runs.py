"""What a call's records go to: its own run, one that another process opened, the caller's, a summary, or nothing."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol

from flowml import records
from flowml.store import active
from flowml.store.fold import FoldedChild, Tally, ledger_of
from flowml.store.outgoing import Closing, Created, Outgoing
from flowml.store.trouble import without_credentials

if TYPE_CHECKING:
    from mlflow.entities import Run as Entity

    from flowml.records import Children
    from flowml.store.connection import Connection


class Run(Protocol):
    """Where the records of one call go."""

    @property
    def info(self) -> records.CurrentRun | None:
        """Which MLflow run it is; None when there is none. Waits until it is created."""

    def put(self, found: Iterable[records.Record]) -> None:
        """Log records."""

    def active(self) -> AbstractContextManager[None]:
        """Make it the run that plain ``mlflow.*`` calls go to."""

    def as_caller(self) -> records.Caller:
        """Tell what calls in other processes need to hang under it."""

    @property
    def is_outermost(self) -> bool:
        """Whether nothing above it in this process waits until all is in MLflow."""

    def close(self, status: records.Status | None, ended: int, about: Iterable[records.Record] = ()) -> None:
        """End it with what is told about its end, at a time in milliseconds since 1970; does not wait.

        Without a status it stays open. What comes after it was ended is told too, and a later status counts more.
        """

    def tell(self, found: Iterable[records.Record]) -> None:
        """Log what became known of this very call, also after it was ended."""

    def settle(self) -> None:
        """Wait until all that was logged is in MLflow, if this is the outermost run of the process."""


class _NoRun:
    """Accepts everything and does nothing: for calls that are not tracked, or whose run could not be opened."""

    info: records.CurrentRun | None = None
    is_outermost = False

    def put(self, found: Iterable[records.Record]) -> None:
        """Log nothing."""

    def active(self) -> AbstractContextManager[None]:
        """Leave MLflow's active run as it is."""
        return nullcontext()

    def as_caller(self) -> records.Caller:
        """Tell that nothing is tracked here."""
        return records.Caller(None, "")

    def close(self, status: records.Status | None, ended: int, about: Iterable[records.Record] = ()) -> None:
        """End nothing."""

    def tell(self, found: Iterable[records.Record]) -> None:
        """Log nothing."""

    def settle(self) -> None:
        """Wait for nothing."""


NO_RUN: Run = _NoRun()


class JoinedRun:
    """A run that another process opened, and will close.

    Args:
        connection: The store it is in.
        out: What it has to send.
        children: Which of its children get runs.
    """

    def __init__(self, connection: Connection, out: Outgoing, children: Children = "all") -> None:
        self.connection = connection
        self.out = out
        self.children = children
        self._sends_in = os.getpid()
        self.pid = os.getpid()  # a forked child has its parent's runs, but not the thread that sends for them
        self._stack = active.Stack()

    @property
    def info(self) -> records.CurrentRun | None:
        """Which run it is, with its page."""
        info = self.connection.writer.created(self.out).info
        return dataclasses.replace(info, url=self.connection.page_of(info.experiment_id, info.run_id))

    @property
    def is_outermost(self) -> bool:
        """Whether nothing above it in this process waits until all is in MLflow."""
        return True

    def put(self, found: Iterable[records.Record]) -> None:
        """Hand the records to the store's writer."""
        if self._sends_in != os.getpid():  # what the parent of this forked process has to send is the parent's to send
            self.out, self._sends_in = self.out.for_a_fork(), os.getpid()
        self.connection.writer.put(self.out, found)

    def tell(self, found: Iterable[records.Record]) -> None:
        """Log what became known of this very call, also after it was ended."""
        self.put(found)

    def active(self) -> AbstractContextManager[None]:
        """Make this run the active one in this context."""
        return active.activated(partial(self._stack.runs, self._entity))

    def as_caller(self) -> records.Caller:
        """Tell of this run and its store."""
        return self._told

    @cached_property
    def _told(self) -> records.Caller:
        # The same for each call below: looking for the run's page reads files, and each read hands Python's lock over.
        registry_uri = self.connection.registry_uri
        return records.Caller(
            self.info,
            without_credentials(self.connection.uri),
            without_credentials(registry_uri) if registry_uri else None,
            children=self.children,
        )

    def close(self, status: records.Status | None, ended: int, about: Iterable[records.Record] = ()) -> None:  # noqa: ARG002 - the one who opened it says when
        """Leave ending it to whoever opened it."""
        self._stack.close_what_was_left_open(status or "FINISHED")

    def sum_up(self, child: FoldedChild) -> None:
        """Note a child without a run for the process that will close this one."""
        writer = self.connection.writer
        ledger_of(self.connection.uri, writer.created(self.out).info, os.getpid()).add(child, writer.put)

    def is_open(self) -> bool:
        """Ask MLflow whether it was closed meanwhile."""
        writer = self.connection.writer
        run_id = writer.created(self.out).info.run_id
        return str(writer.ask(lambda: self.connection.client.get_run(run_id)).info.status) == "RUNNING"

    def settle(self) -> None:
        """Wait until all that was logged to it here is in MLflow."""
        self.connection.writer.flush()
        active.flush_traces()

    def _entity(self) -> Entity:
        created = self.connection.writer.created(self.out)
        if created.entity is not None:
            return created.entity
        return self.connection.writer.ask(lambda: self.connection.client.get_run(created.info.run_id))


class OwnRun(JoinedRun):
    """A run of its own in MLflow.

    Args:
        connection: The store it is in.
        out: What it has to send; the run is created with the rest.
        above: The run it hangs under; None for a root.
        identity: Whose it is; a flow's carries its children's metrics.
        children: Which of its children get runs.
    """

    def __init__(
        self,
        connection: Connection,
        out: Outgoing,
        above: JoinedRun | None,
        *,
        identity: records.Identity,
        children: Children,
    ) -> None:
        super().__init__(connection, out, children)
        self._tag = identity.tag
        self.tally = Tally() if children != "all" else None
        self._above = above
        self._is_flow = identity.kind == "flow"
        connection.writer.tell(out)

    def as_caller(self) -> records.Caller:
        """Tell of a root, which is waited for; of another run, tell how it is found near the root."""
        if self._above is None or (self.out.new is not None and self.out.new.is_root):
            return super().as_caller()
        return dataclasses.replace(self._above.as_caller(), tag=self._tag, children=self.children)

    def sum_up(self, child: FoldedChild) -> None:
        """Count a child without a run; a forked process notes it for the one that has the run."""
        if self.tally is None or is_elsewhere(self):
            super().sum_up(child)
        else:
            self.tally.add(child)

    def close(self, status: records.Status | None, ended: int, about: Iterable[records.Record] = ()) -> None:
        """End the run, and those that the user's code left open below it."""
        try:
            self._stack.close_what_was_left_open(status or "FINISHED")
            self.put(about)
        finally:
            if status:
                self.out.is_ending = True
                self.connection.writer.close(self.out, Closing(status, ended, self._is_flow, self.tally))

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
            if self.out.problems:
                raise self.out.problems[0]


class ParentsRun:
    """The caller's run, for a call with ``Track(run="parent")``: its records go there, and closing leaves it open."""

    def __init__(self, parent: Run) -> None:
        self._parent = parent
        self.active = parent.active
        self.as_caller = parent.as_caller

    @property
    def info(self) -> records.CurrentRun | None:
        """Which run the caller's is."""
        return self._parent.info

    def put(self, found: Iterable[records.Record]) -> None:
        """Hand the records to the caller's run."""
        self._parent.put(found)

    @property
    def is_outermost(self) -> bool:
        """Whether the caller is in another process."""
        return self._parent.is_outermost and not isinstance(self._parent, OwnRun)

    def close(self, status: records.Status | None, ended: int, about: Iterable[records.Record] = ()) -> None:
        """Leave it to the caller, also to tell of an error, which it may handle."""

    def tell(self, found: Iterable[records.Record]) -> None:
        """Leave it to the caller."""

    def settle(self) -> None:
        """Wait for what was logged, if the caller is in another process."""
        if self.is_outermost:
            self._parent.settle()


def is_elsewhere(run: JoinedRun) -> bool:
    """Tell whether a run was opened by another process, such as the one that this was forked from."""
    return not isinstance(run, OwnRun) or run.pid != os.getpid()


def joined(connection: Connection, info: records.CurrentRun, children: Children = "all") -> JoinedRun:
    """Return a run that exists already, to hang others under."""
    out = Outgoing(None, None)
    out.created.set_result(Created(None, info))
    return JoinedRun(connection, out, children)
