"""The only sender of records to MLflow: one thread for a store, few calls for a run, and only flows wait for it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from flowml import faults, records, settings
from flowml.errors import TrackingError
from flowml.locks import RLock
from flowml.store.backend.failures import explain
from flowml.store.backend.retrying import pause
from flowml.store.sending import timing
from flowml.store.sending.send_pass import SendPass
from flowml.store.sending.sender import Sender
from flowml.store.sending.steps import LaterError
from flowml.store.waiting import answers, journaled
from flowml.store.waiting.backlog import MOST, Backlog
from flowml.store.waiting.delay import Delay
from flowml.store.waiting.intake import enqueue
from flowml.store.waiting.queue import Closing, Created, Outgoing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from flowml.store.backend.connection import Connection

_logger = logging.getLogger(__name__)

T = TypeVar("T")
Job: TypeAlias = "tuple[Callable[[], Any], Future[Any]]"

_MANY = 200  # ended runs, from which on they are sent without waiting for a quiet moment: each takes some 25 KB


_writers: WeakSet[Writer] = WeakSet()
_of_connections: WeakKeyDictionary[Connection, Writer] = WeakKeyDictionary()
_making = RLock()


def writer_of(connection: Connection) -> Writer:
    """Return the one writer of a connection."""
    with _making:
        found = _of_connections.get(connection)
        if found is None:
            found = _of_connections[connection] = Writer(connection)
        return found


def all_writers() -> list[Writer]:
    """Return the writers of this process."""
    return list(_writers)


class Writer:
    """Sends what runs log to one MLflow store, in the order in which it was logged.

    The user's task waits only where it asks for its run, or a gigabyte of files waits already. Records of a run wait a
    moment for others, so that a short task costs one batch and a long one shows its metrics while it works; parameters
    wait for the run's end, because MLflow refuses a second value for one and the user's own come first. While MLflow
    fails, everything waits and is tried again.

    Args:
        connection: The connection to the store.

    Attributes:
        is_served: Whether a server has the runs, and no database that this process opens.
    """

    def __init__(self, connection: Connection) -> None:
        self._uri = connection.uri
        self.is_served = self._uri.startswith("http")
        self._sender = Sender(connection)
        self.begin()
        _writers.add(self)

    def begin(self) -> None:
        """Begin with nothing to send: also in a forked child, whose parent sends what is its own."""
        self._starting = RLock()
        self._asked = threading.Event()
        self._wanted: deque[Outgoing] = deque()  # runs that somebody waits for
        self._told: queue.SimpleQueue[Outgoing | _Close | Job] = queue.SimpleQueue()
        self._waiting: dict[Outgoing, None] = {}
        self._backlog = Backlog()
        self._failures = 0
        self._next_try = 0.0
        self._sent_last = 0.0
        self._thread: threading.Thread | None = None
        self._may_work = threading.Event()
        self._may_work.set()
        self._working = threading.Lock()
        self._resting = False

    def rest(self) -> None:
        """Send nothing until `go_on`: a process that is forked in the middle of a write cannot open the database.

        Waits for what is being sent, at most `timing.FORK` seconds; for a server less, and not at all while it is away.
        """
        self._may_work.clear()
        patience = timing.FORK if not self.is_served else 0.0 if self.is_away() else timing.FORK_SERVED
        is_held = self._working.acquire(timeout=patience)
        self._resting = self._resting or is_held  # another thread may fork at the same time

    def go_on(self) -> None:
        """Go on after `rest`."""
        try:
            if self._resting:
                self._resting = False
                self._working.release()
        finally:
            self._may_work.set()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self._may_work.wait(timing.FORK)
        with self._working:
            yield

    def put(self, out: Outgoing, new_records: Iterable[records.Record]) -> None:
        """Take records of a run; models are serialized and files copied here and now: later changes are not logged.

        Raises:
            TrackingError: If a model could not be serialized or a file not copied; the other records are taken.
        """
        taken, problems = enqueue(new_records, self._uri)
        journaled.take(out, taken)
        self.tell(out)
        if problems:
            raise TrackingError.of(problems)

    def tell(self, out: Outgoing) -> None:
        """Say that a run has something new to send; waits only where the setting ``write`` says so."""
        self._hand_over(out)
        self._send_at_once(out)

    def close(self, out: Outgoing, closing: Closing) -> None:
        """Say that a run has ended; it is closed when all that was handed over before is sent."""
        self._hand_over(_Close(out, closing))
        self._send_at_once(out)

    def ask(self, job: Callable[[], T], delay: Delay | None = None, patience: float | None = None) -> T:
        """Let the sender do something in its turn, and wait for it.

        Args:
            job: What it does.
            delay: What the flow that waits may still be delayed.
            patience: Seconds to wait; for an MLflow that fails no longer than the default, the setting ``timeout``.

        Raises:
            TrackingError: If MLflow fails or does not answer in time.
        """

        def work() -> T:
            with self._at_work(), self._sender.watch.working():
                return job()

        result: Future[T] = Future()
        self._hand_over((work, result))
        end = time.monotonic() + patience if patience else None
        return self.wait(result, (lambda: end) if end else None, delay=delay)

    def flush(self, patience: float | None = None, *, of: Outgoing | None = None, delay: Delay | None = None) -> None:
        """Send all that was handed over until now, and wait for it; what fails in a way that may pass is tried again.

        Args:
            patience: Seconds to wait since the last run was sent. Default: ten times the setting ``timeout``, for
                files take long; but no longer than that setting once MLflow fails.
            of: An outermost run: not waited for is what fails of others.
            delay: What the flow that waits may still be delayed, once MLflow fails.

        Raises:
            TrackingError: If something is not sent yet; it is tried again while the process lives.
        """
        began, timeout = time.monotonic(), settings.current().timeout
        most = min(timeout, delay.left()) if delay else timeout
        limit = min(patience or most, most)
        for failures in count(1):
            until = max(began, of.sent_last if of else 0.0) + limit
            is_last = time.monotonic() >= until
            longest = until + limit / 2 if is_last else 0.0  # the last pass begins when the time is up
            result: Future[None] = Future()
            self._hand_over((partial(self._send_all, of, last=is_last), result))
            try:
                latest = partial(self._latest, longest, began, patience or 10 * timeout)
                self.wait(result, latest, delay=delay)
            except TrackingError:
                if is_last or not result.done():
                    raise
                rest = max(0.0, min(pause(failures, timing.LONGEST_PAUSE_AWAITED), until - time.monotonic()))
                time.sleep(rest)
                if delay:
                    delay.spend(rest)
            else:
                return

    def _latest(self, longest: float, began: float, patience: float) -> float:
        return max(longest, max(began, self._sent_last) + patience)

    def tell_again(self, outs: Iterable[Outgoing], patience: float) -> None:
        """Let the flows above runs that were closed elsewhere tell of them; then the journal lets go of the runs.

        Args:
            outs: The runs, each after the one above it; those of flows tell of what is below them, too.
            patience: Seconds to wait while none has told.

        Raises:
            TrackingError: If MLflow fails or does not answer in time; the journal keeps those above which not all told.
        """
        self.ask(partial(self._sender.tell_later, list(outs)))
        self.flush(patience)

    def created(self, out: Outgoing) -> Created:
        """Return a run as MLflow knows it; it is created before all that waits, when the run that is being sent is.

        Raises:
            TrackingError: If MLflow fails or does not answer in time.
        """
        if not out.created.done():
            self._wanted.append(out)
            self._hand_over((self._create_wanted, Future[None]()))
        return self.wait(out.created, delay=out.delay)

    def _create_wanted(self) -> None:
        while self._wanted:
            with self._at_work(), suppress(LaterError):
                self._sender.create(self._wanted.popleft())

    def wait(self, result: Future[T], until: Callable[[], float] | None = None, *, delay: Delay | None = None) -> T:
        """Wait for a result of the sender, until a time that may move, or for the setting ``timeout``.

        Raises:
            TrackingError: If MLflow fails or does not answer in time.
        """
        if threading.current_thread() is self._thread and not result.done():
            msg = "the writer cannot wait for itself"  # the garbage collector ends generator tasks in any thread
            raise TrackingError(msg)
        return answers.wait_for(result, self._uri, until, self._who_fails, delay=delay)

    def is_away(self) -> bool:
        """Tell whether MLflow fails, or does not answer."""
        return bool(self._who_fails())

    def _who_fails(self) -> str:
        return "MLflow" if self._failures else self._sender.watch.stuck_at()

    def _send_at_once(self, out: Outgoing) -> None:
        if settings.current().write == "sync" and threading.current_thread() is not self._thread:
            try:
                self.flush(settings.current().timeout, of=out.root or out, delay=out.delay)
            except TrackingError as problem:
                if not (problem.waits and out.journal and not out.has_gaps):
                    raise  # else it is on the disk, and the end of the flow says so

    def is_working(self) -> bool:
        """Tell whether the sender has begun, so that it may have something left to send."""
        return self._thread is not None and self._thread.is_alive()

    def waiting(self) -> list[Outgoing]:
        """Return the runs that have something left to send."""
        return list(self._waiting)

    def count_waiting(self, root: Outgoing | None = None) -> int:
        """Count the runs that have something left to send: those of an outermost run with its own, or all."""
        in_memory = sum(root in {None, out.root or out} for out in list(self._waiting))
        return in_memory + self._backlog.count(root)

    def _hand_over(self, item: Outgoing | _Close | Job) -> None:
        if self._thread is None or not self._thread.is_alive():
            with self._starting:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._work, name="flowml-writer", daemon=True)
                    self._thread.start()
        self._told.put(item)
        # Somebody waits for it. The sender's thread may hold the event's lock: the garbage collector runs anywhere.
        if isinstance(item, tuple) and threading.current_thread() is not self._thread:
            self._asked.set()

    def _work(self) -> None:
        while True:
            try:
                self._take(self._told.get(timeout=timing.LINGER / 2 if self._waiting else timing.IDLE))
            except queue.Empty:
                pass
            else:
                self._hold()
            if time.monotonic() >= self._next_try:
                self._try(self._send_due)

    def _take(self, item: Outgoing | _Close | Job) -> None:
        if isinstance(item, tuple):
            self._do(*item)
            return
        if isinstance(item, _Close):
            item.out.closing, item = item.closing, item.out
        self._waiting.pop(item, None)  # to the end: a flow is closed after the tasks that were before it
        if len(self._waiting) < MOST or not (self._failures and self._backlog.take(item)):
            self._waiting[item] = None

    def _fetch(self) -> bool:
        """Put runs back from the backlog, where there is room; tell whether there were any."""
        if not self._backlog or len(self._waiting) > MOST // 2:
            return False
        ended = [out for out in self._waiting if out.closing and out.closing.rolls_up]
        for out, closing in self._backlog.give():
            out.closing = closing
            self._waiting[out] = None
        for flow in ended:  # after what was called in it
            self._waiting[flow] = self._waiting.pop(flow)
        return True

    def _hold(self) -> None:
        """Take what comes in until nothing does: one Python thread works at a time, and Prefect's begins a task."""
        until = time.monotonic() + timing.HOLD
        came = True
        while came and time.monotonic() < until:
            if not self._is_behind():
                self._asked.wait(timing.QUIET)
            self._asked.clear()
            came = False
            with suppress(queue.Empty):
                while True:
                    self._take(self._told.get_nowait())
                    came = True

    def _is_behind(self) -> bool:
        if time.monotonic() < self._next_try:
            return False
        return sum(out.closing is not None for out in self._waiting) >= _MANY

    def _do(self, job: Callable[[], T], result: Future[T]) -> None:
        try:
            done = job()
        except BaseException as error:  # noqa: BLE001 - it belongs to the one who waits
            result.set_exception(error.problem if isinstance(error, LaterError) else explain(self._uri, error))
        else:
            result.set_result(done)

    def _try(self, job: Callable[[], object]) -> None:
        """Do something that may fail for a while; then the next try has to wait longer."""
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - of MLflow, or flowml's own: the thread goes on
            if not isinstance(error, LaterError):
                faults.tell("send to MLflow", error, _logger, level=logging.WARNING)
            self._failures += 1
            self._next_try = time.monotonic() + pause(self._failures, timing.LONGEST_PAUSE)

    def _send_all(self, of: Outgoing | None, *, last: bool) -> None:
        failed = self._send_due(force=True, of=of, last=last)
        if problems := [problem for root, problem in failed.items() if of in {None, root}]:
            raise TrackingError.of(problems)

    def _send_due(
        self, *, force: bool = False, of: Outgoing | None = None, last: bool = False
    ) -> Mapping[Outgoing, TrackingError]:
        one = SendPass(
            self._sender,
            self._waiting,
            self._at_work,
            self._was_sent,
            self._create_wanted,
            self._backlog.count,
            side_by_side=self.is_served,
            force=force,
            of=of,
            last=last,
        )
        failed = one.run()
        self._failures, self._next_try = 0, 0.0
        while self._fetch() and not failed:
            failed = one.run()
        return failed

    def _was_sent(self) -> None:
        self._failures, self._sent_last = 0, time.monotonic()


@dataclass(frozen=True, slots=True)
class _Close:
    """What the sender is handed when a run has ended."""

    out: Outgoing
    closing: Closing
