"""The only sender of records to MLflow: one thread for a store, few calls for a run, and only flows wait for it."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet  # a class of its own before Python 3.11
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from weakref import WeakSet

from flowml import records, settings
from flowml.errors import TrackingError
from flowml.store import batches, models, rollup
from flowml.store.outgoing import Created, Outgoing
from flowml.store.trouble import explain, is_unreachable, masked, may_pass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

    from flowml.store.outgoing import NewRun

T = TypeVar("T")
Job: TypeAlias = "tuple[Callable[[], Any], Future[Any]]"

_LINGER = 1.0  # seconds that records wait for company before they are sent on their own
_TRIES = 5  # of one step of one run, while other runs can be sent
_PATIENCE = (1.0, 2.0, 5.0, 15.0)  # seconds between tries while MLflow fails; the last one again and again


_writers: WeakSet[Writer] = WeakSet()


def _begin_again() -> None:
    for writer in _writers:
        writer.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)


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
        self._client = client
        self._uri = uri
        self.begin()
        _writers.add(self)

    def begin(self) -> None:
        """Begin with nothing to send: also in a forked child, whose parent sends what is its own."""
        self._starting = threading.RLock()  # re-entrant: the garbage collector may close a generator task inside
        self._told: queue.SimpleQueue[Outgoing | Job] = queue.SimpleQueue()
        self._waiting: dict[Outgoing, None] = {}
        self._failures = 0
        self._next_try = 0.0
        self._thread: threading.Thread | None = None

    def put(self, out: Outgoing, found: Iterable[records.Record]) -> None:
        """Take records of a run; models are serialized here and now, so that later changes to them are not logged.

        Raises:
            TrackingError: If a model could not be serialized; the other records are taken.
        """
        problem: TrackingError | None = None
        for record in found:
            if isinstance(record, records.Model):
                try:
                    out.incoming.append(models.save(record))
                except Exception as error:  # noqa: BLE001 - of whatever library the model comes from
                    msg = f"the model {record.name!r} could not be serialized: {type(error).__name__}: {error}."
                    problem = TrackingError(msg, uri=masked(self._uri))
            else:
                out.incoming.append(record)
        self.tell(out)
        if problem:
            raise problem

    def tell(self, out: Outgoing) -> None:
        """Say that a run has something new to send; never waits."""
        self._hand_over(out)

    def ask(self, job: Callable[[], T]) -> T:
        """Let the sender do something in its turn, and wait for it, at most the setting ``timeout``.

        Raises:
            TrackingError: If MLflow fails or does not answer in time.
        """
        result: Future[T] = Future()
        self._hand_over((job, result))
        return self.wait(result)

    def flush(self, patience: float | None = None) -> None:
        """Send all that was handed over until now, and wait for it.

        Args:
            patience: Seconds to wait. Default: ten times the setting ``timeout``, for files take long; but no longer
                than that setting once MLflow fails.

        Raises:
            TrackingError: If something is not sent yet.
        """
        result: Future[None] = Future()
        self._hand_over((partial(self._send_waiting, force=True), result))
        self.wait(result, patience or 10 * settings.current().timeout)

    def wait(self, result: Future[T], patience: float | None = None) -> T:
        """Wait for a result of the sender, at most so many seconds, or the setting ``timeout``.

        Raises:
            TrackingError: If MLflow fails or does not answer in time.
        """
        if threading.current_thread() is self._thread and not result.done():
            msg = "the writer cannot wait for itself"  # the garbage collector ends generator tasks in any thread
            raise TrackingError(msg)
        budget = settings.current().timeout
        until = time.monotonic() + (patience or budget)
        while True:
            try:
                return result.result(max(0.0, min(until - time.monotonic(), budget)))
            except NotYet:
                if self._failures or time.monotonic() >= until:
                    shown = masked(self._uri)
                    message = f"MLflow at {shown} did not answer within {budget:g} s; what waits is sent when it does."
                    remedy = "Check the server, or raise FLOWML_TIMEOUT."
                    raise TrackingError(message, uri=shown, remedy=remedy) from None

    def _hand_over(self, item: Outgoing | Job) -> None:
        if self._thread is None or not self._thread.is_alive():
            with self._starting:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._work, name="flowml-writer", daemon=True)
                    self._thread.start()
        self._told.put(item)

    def _work(self) -> None:
        while True:
            try:
                item = self._told.get(timeout=_LINGER / 2 if self._waiting else None)
            except queue.Empty:
                item = None
            if isinstance(item, tuple):
                self._do(*item)
            else:
                if item is not None:
                    self._waiting.pop(item, None)  # to the end: a flow is closed after the tasks that were before it
                    self._waiting[item] = None
                if self._told.empty() and time.monotonic() >= self._next_try:
                    self._try(self._send_waiting)

    def _do(self, job: Callable[[], T], result: Future[T]) -> None:
        try:
            done = job()
        except BaseException as error:  # noqa: BLE001 - it belongs to the one who waits
            result.set_exception(error if isinstance(error, TrackingError) else explain(self._uri, error))
        else:
            result.set_result(done)

    def _try(self, job: Callable[[], None]) -> None:
        """Do something that may fail for a while; then the next try has to wait longer."""
        try:
            job()
        except TrackingError:
            pause = _PATIENCE[min(self._failures, len(_PATIENCE) - 1)]
            self._failures += 1
            self._next_try = time.monotonic() + pause

    def _send_waiting(self, *, force: bool = False) -> None:
        """Send what is due, in order: what must be created, what was closed, what has waited long enough.

        Raises:
            TrackingError: If MLflow fails in a way that may pass; all that is left waits.
        """
        failed: TrackingError | None = None
        for out in list(self._waiting):
            due = force or out.closing or not out.created.done() or time.monotonic() - out.since >= _LINGER
            try:
                if due and self._send(out):
                    self._waiting.pop(out, None)
            except _StoreGoneError as gone:
                raise gone.problem from None
            except TrackingError as error:
                failed = error  # this run's own; the others need not wait for it
        if failed:
            raise failed
        self._failures, self._next_try = 0, 0.0

    def _send(self, out: Outgoing) -> bool:
        """Send what a run has; True if nothing of it has to wait for later."""
        if not out.created.done() and not self._step(out, partial(self._create, out)):
            return True
        if out.created.exception() is not None:
            return True
        closing = out.closing  # read before what came in: whatever is logged after it is too late
        out.sort()
        info = out.created.result().info
        run_id, client = info.run_id, self._client
        if closing and out.problems:
            out.tags["flowml.tracking_error"] = str(out.problems[0])
        self._step(out, partial(batches.send_batch, client, run_id, out, with_params=closing is not None))
        self._step(out, partial(batches.send_inputs, client, run_id, out))
        self._step(out, partial(batches.send_files, client, run_id, out))
        self._step(out, partial(batches.send_models, client, run_id, out, info.experiment_id))
        if closing is None:
            out.since = time.monotonic()
            return not out.params
        if closing.rolls_up:
            self._step(out, partial(rollup.roll_up, client, run_id, info.experiment_id))
        end = partial(client.set_terminated, run_id, status=closing.status, end_time=closing.ended)
        self._step(out, end)
        out.closing = None
        return True

    def _step(self, out: Outgoing, job: Callable[[], object]) -> bool:
        """Do one step of a run; what MLflow refuses for good is noted and left out, and the other steps are done.

        Raises:
            TrackingError: If it may succeed later.
        """
        try:
            job()
        except Exception as error:  # noqa: BLE001 - of MLflow, its database, the network
            problem = explain(self._uri, error)
            if is_unreachable(error):
                raise _StoreGoneError(problem) from None
            out.tries += 1
            if may_pass(error) and out.tries < _TRIES:
                raise problem from None
            out.note(problem)
            if not out.created.done():
                out.created.set_exception(problem)
            return False
        out.tries = 0
        return True

    def _create(self, out: Outgoing) -> None:
        new = out.new
        if new is None:
            return
        if new.above and not new.above.created.done():
            self._step(new.above, partial(self._create, new.above))
        above = new.above.created.result(0).info if new.above else None
        experiment_id = above.experiment_id if above else new.experiment() if new.experiment else "0"
        entity = self._reopened(new, experiment_id)
        if entity is None:
            told = {"mlflow.parentRunId": above.run_id} if above else {}
            if above and not new.is_root:
                told["flowml.root_run_id"] = above.root_run_id
            tags = batches.tags_of({**new.tags, **told})
            entity = self._client.create_run(experiment_id, new.started, tags, new.name)
        run_id = str(entity.info.run_id)
        if new.is_root:
            out.tags["flowml.root_run_id"] = run_id
        root_run_id = above.root_run_id if above and not new.is_root else run_id
        out.created.set_result(Created(entity, records.CurrentRun(run_id, str(experiment_id), root_run_id, None)))

    def _reopened(self, new: NewRun, experiment_id: str) -> MlflowRun | None:
        """Go on in the run of an earlier attempt of the same flow run, if there is one."""
        if new.reopens is None:
            return None
        mine = f"tags.`prefect.flow_run_id` = '{new.reopens}' and tags.`flowml.kind` = 'flow'"
        found = self._client.search_runs([experiment_id], mine, max_results=1)
        if not found:
            return None
        run_id = found[0].info.run_id
        self._client.update_run(run_id, status="RUNNING")
        self._client.set_tag(run_id, "flowml.attempt", new.tags["flowml.attempt"])
        return found[0]


class _StoreGoneError(Exception):
    """The store cannot be reached: nothing else needs to be tried now."""

    def __init__(self, problem: TrackingError) -> None:
        super().__init__(problem)
        self.problem = problem
