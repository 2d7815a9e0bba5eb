"""A call that is summed up on the run above it, unless something needs a run for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING

from flowml import clock, records
from flowml.store import active
from flowml.store.child_runs import INPUTS
from flowml.store.fold import FoldedChild
from flowml.store.runs import JoinedRun, OwnRun, is_elsewhere

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

_INPUTS = 5  # so many are noted, for thousands of children have few kinds of them


class FoldedRun:
    """A call that gets a run only when something needs it: its failure, or plain ``mlflow.*`` calls inside."""

    def __init__(self, under: JoinedRun, identity: records.Identity, create: Callable[[], OwnRun]) -> None:
        self.under = under
        self._identity = identity
        self._create = create
        self._started = clock.now()
        self._found: list[records.Record] = []
        self._run: OwnRun | None = None
        self._summed_up: tuple[records.Status, int, Iterable[records.Record]] | None = None  # how it ended
        self.on_opened: Callable[[OwnRun], None] | None = None  # told when it gets a run
        self._lock = RLock()  # carried threads may ask at the same time
        self._stack = active.Stack()

    @property
    def opened(self) -> OwnRun | None:
        """The run that it got, if something needed it."""
        return self._run

    @property
    def info(self) -> records.CurrentRun | None:
        """Which MLflow run it is; asking opens it."""
        return self._open().info

    def put(self, found: Iterable[records.Record]) -> None:
        """Keep the records until it is known what becomes of them."""
        self._found += found

    def active(self) -> AbstractContextManager[None]:
        """Make it the active run; it is opened when something asks for that."""
        return active.activated(partial(self._stack.runs, self._entity))

    def as_caller(self) -> records.Caller:
        """Tell of the run above: what is called in other processes hangs under that."""
        return self.under.as_caller()

    @property
    def is_outermost(self) -> bool:
        """Whether the run above is another process's."""
        return is_elsewhere(self.under)

    def close(self, status: records.Status | None, ended: int, about: Iterable[records.Record] = ()) -> None:
        """Sum it up on the run above, or log it as a run."""
        if self._run is None and (status in {"FINISHED", None} or self.under.children == "none"):
            if status:
                self.under.sum_up(self._child(status, ended))
                self._summed_up = status, ended, about
            return
        self._close_own(status, ended, about)

    def _close_own(self, status: records.Status | None, ended: int, about: Iterable[records.Record]) -> None:
        run = self._open()
        self._stack.close_what_was_left_open(status or "FINISHED")
        run.put(self._found)
        self._found = []
        run.close(status, ended, about)

    def _child(self, status: records.Status, ended: int) -> FoldedChild:
        params = {record.key: record.value for record in self._found if isinstance(record, records.Param)}
        metrics = {record.key: record.value for record in self._found if isinstance(record, records.Metric)}
        seconds = (ended - self._started) / 1000
        identity = self._identity
        inputs = identity.tags.get(INPUTS, "").split(",")[:_INPUTS]
        return FoldedChild(identity.owner, identity.name, status, seconds, params, metrics, identity.tag[1], inputs)

    def tell(self, found: Iterable[records.Record]) -> None:
        """Log what became known of this very call, if it got a run."""
        if self._run is not None:
            self._run.tell(found)

    def settle(self) -> None:
        """Leave the waiting to the run above; where that is another process's, get a run if its end was earlier."""
        if self.is_outermost:
            self.under.connection.writer.flush()
            late, self._summed_up = self._summed_up, None
            if late and not self.under.is_open():
                self._close_own(*late)
            JoinedRun.settle(self.under)

    def _entity(self) -> MlflowRun:
        return self._open()._entity()  # noqa: SLF001 - of the same family

    def _open(self) -> OwnRun:
        with self._lock:
            if self._run is None:
                self._run = self._create()
                if self.on_opened:
                    self.on_opened(self._run)
            return self._run
