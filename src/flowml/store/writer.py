"""The only sender of records to MLflow: one thread for a store, few calls for a run, and only flows wait for it."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet  # a class of its own before Python 3.11
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from flowml import records, settings
from flowml.errors import TrackingError
from flowml.store import writers
from flowml.store.intake import take_in
from flowml.store.outgoing import Closing, Created, Outgoing
from flowml.store.passes import LINGER, Pass
from flowml.store.sender import LaterError, Sender
from flowml.store.trouble import explain, masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlflow import MlflowClient

T = TypeVar("T")
Job: TypeAlias = "tuple[Callable[[], Any], Future[Any]]"

_QUIET = 0.02  # seconds without news, after which a task is taken to be in its body: sending then disturbs it least
_HOLD = 0.5  # seconds after which news are sent all the same
_MANY = 200  # ended runs, from which on they are sent without waiting for a quiet moment: each takes some 25 KB
_REST = 5.0  # seconds that a fork waits for what is being sent
_PATIENCE = (1.0, 2.0, 5.0, 15.0)  # seconds between tries while MLflow fails; the last one again and again


class Writer:
    """Sends what runs log to one MLflow store, in the order in which it was logged.

    Nothing here makes the user's task wait. Records of a run wait a moment for others, so that a short task costs one
    batch and a long one shows its metrics while it works; parameters wait for the run's end, because MLflow refuses a
    second value for one and the user's own come first. While MLflow fails, everything waits and is tried again.

    Args:
        client: MLflow's client for the store.
        uri: The store's tracking URI.
    """

    def __init__(self, client: MlflowClient, uri: str) -> None:
        self._uri = uri
        self._sender = Sender(client, uri)
        self.begin()
        writers.know(self)

    def begin(self) -> None:
        """Begin with nothing to send: also in a forked child, whose parent sends what is its own."""
        self._starting = threading.RLock()  # re-entrant: the garbage collector may close a generator task inside
        self._asked = threading.Event()
        self._wanted: deque[Outgoing] = deque()  # runs that somebody waits for
        self._told: queue.SimpleQueue[Outgoing | _Close | Job] = queue.SimpleQueue()
        self._waiting: dict[Outgoing, None] = {}
        self._failures = 0
        self._next_try = 0.0
        self._sent_last = 0.0
        self._thread: threading.Thread | None = None
        self._may_work = threading.Event()
        self._may_work.set()
        self._working = threading.Lock()

    def rest(self) -> None:
        """Send nothing until `go_on`: a process that is forked in the middle of a write cannot open the database.

        Waits for what is being sent, at most `_REST` seconds.
        """
        self._may_work.clear()
        self._resting = self._working.acquire(timeout=_REST)

    def go_on(self) -> None:
        """Go on after `rest`."""
        if self._resting:
            self._working.release()
        self._may_work.set()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self._may_work.wait()
        with self._working:
            yield

    def put(self, out: Outgoing, found: Iterable[records.Record]) -> None:
        """Take records of a run; models are serialized and files copied here and now: later changes are not logged.

        Raises:
            TrackingError: If a model could not be serialized or a file not copied; the other records are taken.
        """
        taken, problem = take_in(found, self._uri)
        out.incoming.extend(taken)
        self.tell(out)
        if problem:
            raise problem

    def tell(self, out: Outgoing) -> None:
        """Say that a run has something new to send; waits only where the setting ``write`` says so."""
        self._hand_over(out)
        self._send_at_once()

    def close(self, out: Outgoing, closing: Closing) -> None:
        """Say that a run has ended; it is closed when all that was handed over before is sent."""
        self._hand_over(_Close(out, closing))
        self._send_at_once()

    def ask(self, job: Callable[[], T]) -> T:
        """Let the sender do something in its turn, and wait for it, at most the setting ``timeout``.

        Raises:
            TrackingError: If MLflow fails or does not answer in time.
        """

        def work() -> T:
            with self._at_work():
                return job()

        result: Future[T] = Future()
        self._hand_over((work, result))
        return self.wait(result)

    def flush(self, patience: float | None = None) -> None:
        """Send all that was handed over until now, and wait for it.

        Args:
            patience: Seconds to wait since the last run was sent. Default: ten times the setting ``timeout``, for
                files take long; but no longer than that setting once MLflow fails.

        Raises:
            TrackingError: If something is not sent yet.
        """
        began, timeout = time.monotonic(), settings.current().timeout
        while True:
            is_last = time.monotonic() >= max(began, self._sent_last) + min(patience or timeout, timeout)
            result: Future[None] = Future()
            self._hand_over((partial(self._send_waiting, force=True, last=is_last), result))
            try:
                self.wait(result, lambda: max(began, self._sent_last) + (patience or 10 * timeout))
            except TrackingError:
                if is_last or not result.done():
                    raise
                time.sleep(0.2)  # MLflow failed, and may not the next time
            else:
                return

    def created(self, out: Outgoing) -> Created:
        """Return a run as MLflow knows it; it is created before all that waits, when the run that is being sent is.

        Raises:
            TrackingError: If MLflow fails or does not answer in time.
        """
        if not out.created.done():
            self._wanted.append(out)
            self._hand_over((self._create_wanted, Future[None]()))
        return self.wait(out.created)

    def _create_wanted(self) -> None:
        while self._wanted:
            with self._at_work(), suppress(LaterError):
                self._sender.create(self._wanted.popleft())

    def wait(self, result: Future[T], until: Callable[[], float] | None = None) -> T:
        """Wait for a result of the sender, until a time that may move, or for the setting ``timeout``.

        Raises:
            TrackingError: If MLflow fails or does not answer in time.
        """
        if threading.current_thread() is self._thread and not result.done():
            msg = "the writer cannot wait for itself"  # the garbage collector ends generator tasks in any thread
            raise TrackingError(msg)
        budget, began = settings.current().timeout, time.monotonic()
        until = until or (lambda: began + budget)
        while True:
            try:
                return result.result(max(0.0, min(until() - time.monotonic(), budget)))
            except NotYet:
                if self._failures or time.monotonic() >= until():
                    shown = masked(self._uri)
                    message = f"MLflow at {shown} did not answer within {budget:g} s; what waits is sent when it does."
                    remedy = "Check the server, or raise FLOWML_TIMEOUT."
                    raise TrackingError(message, uri=shown, remedy=remedy) from None

    def _send_at_once(self) -> None:
        if settings.current().write == "sync" and threading.current_thread() is not self._thread:
            self.flush(settings.current().timeout)

    def is_working(self) -> bool:
        """Tell whether the sender has begun, so that it may have something left to send."""
        return self._thread is not None and self._thread.is_alive()

    def count_waiting(self, root: Outgoing) -> int:
        """Count the runs of an outermost run that have something left to send, its own among them."""
        return sum((out.root or out) is root for out in list(self._waiting))

    def _hand_over(self, item: Outgoing | _Close | Job) -> None:
        if self._thread is None or not self._thread.is_alive():
            with self._starting:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._work, name="flowml-writer", daemon=True)
                    self._thread.start()
        self._told.put(item)
        if isinstance(item, tuple):
            self._asked.set()  # somebody waits for it

    def _work(self) -> None:
        while True:
            try:
                self._take(self._told.get(timeout=LINGER / 2 if self._waiting else None))
            except queue.Empty:
                pass
            else:
                self._hold()
            if time.monotonic() >= self._next_try:
                self._try(self._send_waiting)

    def _take(self, item: Outgoing | _Close | Job) -> None:
        if isinstance(item, tuple):
            self._do(*item)
            return
        if isinstance(item, _Close):
            item.out.closing, item = item.closing, item.out
        self._waiting.pop(item, None)  # to the end: a flow is closed after the tasks that were before it
        self._waiting[item] = None

    def _hold(self) -> None:
        """Take what comes in until nothing does: one Python thread works at a time, and Prefect's begins a task."""
        until = time.monotonic() + _HOLD
        came = True
        while came and time.monotonic() < until:
            if not self._is_behind():
                self._asked.wait(_QUIET)
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
            known = isinstance(error, TrackingError | LaterError)
            result.set_exception(error if known else explain(self._uri, error))
        else:
            result.set_result(done)

    def _try(self, job: Callable[[], None]) -> None:
        """Do something that may fail for a while; then the next try has to wait longer."""
        try:
            job()
        except BaseException:  # noqa: BLE001 - of MLflow, or flowml's own: the thread goes on
            pause = _PATIENCE[min(self._failures, len(_PATIENCE) - 1)]
            self._failures += 1
            self._next_try = time.monotonic() + pause

    def _send_waiting(self, *, force: bool = False, last: bool = False) -> None:
        """Make a pass over all that waits.

        Raises:
            TrackingError: If MLflow fails in a way that may pass; all that is left waits.
        """
        side_by_side = self._uri.startswith("http")
        one = Pass(self._sender, self._waiting, self._at_work, self._was_sent, self._create_wanted, side_by_side)
        replace(one, force=force, last=last).run()
        self._failures, self._next_try = 0, 0.0

    def _was_sent(self) -> None:
        self._failures, self._sent_last = 0, time.monotonic()


@dataclass(frozen=True, slots=True)
class _Close:
    """What the sender is handed when a run has ended."""

    out: Outgoing
    closing: Closing
