"""A call that is summed up on the run above it, unless something needs a run for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from flowml import formats, records
from flowml.errors import TrackingError
from flowml.locks import RLock
from flowml.storable import clean
from flowml.store.by_hand import fluent
from flowml.store.by_hand.logged import HeldParams, Logged
from flowml.store.by_hand.opened import Stack
from flowml.store.by_hand.plain_calls import PlainCalls
from flowml.store.flow_end.child_runs import INPUTS
from flowml.store.flow_end.summary import SummarizedCall
from flowml.store.own_run import JoinedRun, OwnRun, is_elsewhere
from flowml.store.sending.writer import writer_of
from flowml.store.waiting import journaled

_INPUTS = 5  # so many are noted, for thousands of children have few kinds of them


class SummarizedRun:
    """A call that gets a run only when something needs it: its failure, or plain ``mlflow.*`` calls inside."""

    held: HeldParams | None = None
    joins = False

    def __init__(self, under: JoinedRun, identity: records.Identity, create: Callable[[], OwnRun]) -> None:
        self.under = under
        self._identity = identity
        self._create = create
        self._started = formats.now()
        self._found: list[records.Record] = []
        self._run: OwnRun | None = None
        self._summed_up: tuple[records.Status, int, Iterable[records.Record]] | None = None  # how it ended
        self._noted = under.out  # what it is summed up with
        self.on_opened: Callable[[OwnRun], None] | None = None  # told when it gets a run
        self._lock = RLock()  # carried threads may ask at the same time
        self.stack = Stack()
        self.logged = Logged()

    @property
    def target(self) -> JoinedRun:
        """The run above."""
        return self.under

    @property
    def own(self) -> OwnRun | None:
        """The run that it got, if something needed it."""
        return self._run

    @property
    def info(self) -> records.CurrentRun | None:
        """Which MLflow run it is; asking opens it."""
        return self._open().info

    def put(self, new_records: Iterable[records.Record]) -> None:
        """Keep the records until it is known what becomes of them."""
        kept = list(new_records)
        self.logged.note_prompts(kept)
        self._found += kept

    def note_loss(self, text: str) -> None:
        """Note on the outermost run what is lost of this call, and why."""
        self.under.note_loss(text)

    def active(self, say: Callable[[str], None]) -> AbstractContextManager[None]:
        """Make it the active run; it is opened when something asks for that."""
        return fluent.activated(PlainCalls(self, say))

    def new_of(self, described: list[records.Record]) -> list[records.Record]:
        """Return those records that the user's code has not logged by hand already."""
        return [record for record in described if not self.logged.has(record, self.stack.by_hand)]

    def opened_run(self) -> JoinedRun:
        """Open it, for somebody asks for it."""
        return self._open()

    def nearest(self) -> JoinedRun:
        """Return the run above."""
        return self.under

    def id_if_created(self) -> str | None:
        """Return the id of the run that it got, if it was created."""
        return self._run.id_if_created() if self._run else None

    @property
    def is_known(self) -> bool:
        """Whether the run above is known."""
        return self.under.is_known

    def as_caller(self) -> records.Caller:
        """Tell of the run above: what is called in other processes hangs under that."""
        return self.under.as_caller()

    @property
    def is_outermost(self) -> bool:
        """Whether the run above is another process's."""
        return is_elsewhere(self.under)

    def close(self, status: records.Status | None, ended: int, about: Iterable[records.Record] = ()) -> None:
        """Sum it up on the run above, or log it as a run."""
        if self.is_outermost:
            fluent.end_what_was_left(self.stack, status or "FINISHED")
        else:
            self.stack.leave()
        if self._run is None and (status in {"FINISHED", None} or self.under.children == "none"):
            self.under.use(self.logged.spent.usage())
            if status:
                self._noted = self.under.sum_up(self._child(status, ended))
                self._summed_up = status, ended, about
            return
        self._close_own(status, ended, about)

    def _close_own(self, status: records.Status | None, ended: int, about: Iterable[records.Record]) -> None:
        run = self._open()
        self._noted = run.out
        run.use(self.logged.spent.usage())
        by_hand = [records.ByHand(self.logged.params, self.logged.own_params)] if self.logged else []
        run.put([*self._found, *by_hand])
        self._found = []
        run.close(status, ended, about)

    def _child(self, status: records.Status, ended: int) -> SummarizedCall:
        params = {record.key: record.value for record in self._found if isinstance(record, records.Param)}
        metrics = {record.key: record.value for record in self._found if isinstance(record, records.Metric)}
        used = self.logged.spent.usage()
        metrics |= {each.key: each.value for each in used.records() if used and isinstance(each, records.Metric)}
        seconds = (ended - self._started) / 1000
        identity = self._identity
        inputs = identity.tags.get(INPUTS, "").split(",")[:_INPUTS]
        owner, name = clean(identity.owner), clean(identity.name)
        return SummarizedCall(owner, name, status, seconds, params, metrics, identity.tag[1], inputs, identity.attempt)

    def tell(self, new_records: Iterable[records.Record]) -> None:
        """Log what became known of this very call, if it got a run."""
        if self._run is not None:
            self._run.tell(new_records)

    def settle(self) -> None:
        """Leave the waiting to the run above; where that is another process's, get a run if its end was earlier."""
        if self.is_outermost:
            writer = writer_of(self.under.connection)
            try:
                writer.flush(delay=self.under.out.delay)
            except TrackingError as problem:
                raise journaled.waiting(self._noted, problem, writer.count_waiting()) from None
            late, self._summed_up = self._summed_up, None
            if late and not self.under.is_open():
                self._close_own(*late)
            JoinedRun.settle(self.under)

    def _open(self) -> OwnRun:
        with self._lock:
            if self._run is None:
                self._run = self._create()
                if self.on_opened:
                    self.on_opened(self._run)
            return self._run
