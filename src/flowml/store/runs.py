"""What a call's records go to: its own run, one that another process opened, the caller's, a summary, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from flowml import records
from flowml.store.own_run import JoinedRun, OwnRun
from flowml.store.usage.spent import Spent

Say = Callable[[str], None]


class Run(Protocol):
    """Where the records of one call go.

    A body ends, returned or failed. Its session then concludes: it takes the verdict and closes the run. To close a
    run is to give it its status; that waits for nothing. To settle is to wait until all of it is in MLflow.
    """

    @property
    def target(self) -> JoinedRun | None:
        """The run that those called in it hang under; None if they have none to hang under."""

    @property
    def own(self) -> OwnRun | None:
        """The run of its own that this process has opened for it, if it has one."""

    @property
    def info(self) -> records.CurrentRun | None:
        """Which MLflow run it is; None when there is none. Waits until it is created."""

    def put(self, new_records: Iterable[records.Record]) -> None:
        """Log records."""

    def active(self, say: Say) -> AbstractContextManager[None]:
        """Make it the run that plain ``mlflow.*`` calls go to; what the user should know of them is said."""

    def note_loss(self, text: str) -> None:
        """Note on the outermost run what is lost of the call, and why."""

    def new_of(self, described: list[records.Record]) -> list[records.Record]:
        """Return those records that the user's code has not logged by hand already."""

    @property
    def is_known(self) -> bool:
        """Whether `as_caller` need not wait."""

    def as_caller(self) -> records.Caller:
        """Tell what calls in other processes need to hang under it."""

    @property
    def is_outermost(self) -> bool:
        """Whether nothing above it in this process waits until all is in MLflow."""

    def close(self, status: records.Status | None, ended: int, about: Iterable[records.Record] = ()) -> None:
        """Close it with what is told about its end, at a time in milliseconds since 1970; does not wait.

        Without a status it stays open. What comes after it was closed is told too, and a later status counts more.
        """

    def tell(self, new_records: Iterable[records.Record]) -> None:
        """Log what became known of this very call, also after it was closed."""

    def settle(self) -> None:
        """Wait until all that was logged is in MLflow, if this is the outermost run of the process."""


class NoRun:
    """Accepts everything and does nothing: for calls that are not tracked, or whose run could not be opened."""

    is_outermost = False
    is_known = True
    target = None
    own = None

    @property
    def info(self) -> records.CurrentRun | None:
        """Which run it is: none."""
        return None

    def put(self, new_records: Iterable[records.Record]) -> None:
        """Log nothing."""

    def note_loss(self, text: str) -> None:
        """Note nothing."""

    def active(self, say: Say) -> AbstractContextManager[None]:  # noqa: ARG002 - there is nothing to say
        """Leave MLflow's active run as it is."""
        return nullcontext()

    def new_of(self, described: list[records.Record]) -> list[records.Record]:
        """Return them all: they are not logged anyway."""
        return described

    def as_caller(self) -> records.Caller:
        """Tell that nothing is tracked here."""
        return records.Caller(None, "")

    def close(self, status: records.Status | None, ended: int, about: Iterable[records.Record] = ()) -> None:
        """Close nothing."""

    def tell(self, new_records: Iterable[records.Record]) -> None:
        """Log nothing."""

    def settle(self) -> None:
        """Wait for nothing."""


NO_RUN: Run = NoRun()


class ParentsRun:
    """The caller's run, for a call with ``Track(run="parent")``: its records go there, and closing leaves it open."""

    def __init__(self, parent: Run) -> None:
        self.parent = parent
        self.active = parent.active
        self.as_caller = parent.as_caller
        self.new_of = parent.new_of
        self.note_loss = parent.note_loss
        self.target = parent.target
        self.own = None

    @property
    def is_known(self) -> bool:
        """Whether the caller's is known."""
        return self.parent.is_known

    @property
    def info(self) -> records.CurrentRun | None:
        """Which run the caller's is."""
        return self.parent.info

    def put(self, new_records: Iterable[records.Record]) -> None:
        """Hand the records to the caller's run."""
        self.parent.put(new_records)

    @property
    def is_outermost(self) -> bool:
        """Whether the caller is in another process."""
        return self.parent.is_outermost and self.parent.own is None

    def close(self, status: records.Status | None, ended: int, about: Iterable[records.Record] = ()) -> None:  # noqa: ARG002
        """Leave it to the caller, also to tell of an error, which it may handle; only what was used is told here."""
        if self.is_outermost and self.target is not None:
            spent, self.target.logged.spent = self.target.logged.spent, Spent()
            self.target.use(spent.usage())

    def tell(self, new_records: Iterable[records.Record]) -> None:
        """Leave it to the caller."""

    def settle(self) -> None:
        """Wait for what was logged, if the caller is in another process."""
        if self.is_outermost:
            self.parent.settle()
