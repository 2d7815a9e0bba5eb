"""The only sender of records to MLflow: one thread for a store, few calls for a run, a bounded wait for the caller."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet  # a class of its own before Python 3.11
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from flowml import records, settings
from flowml.errors import TrackingError
from flowml.store import batches, models, rollup
from flowml.store.trouble import explained, masked, may_pass

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

T = TypeVar("T")
Job: TypeAlias = "tuple[Callable[[], Any], Future[Any]]"

_LINGER = 1.0  # seconds that records wait for company before they are sent on their own
_COOL_DOWN = 30.0  # seconds that nothing is tried after MLflow did not answer
_UPLOADS = 10  # times the usual wait, where files or models are on the way


@dataclass(slots=True)
class _Waiting:
    """What one run has to send."""

    experiment_id: str
    since: float
    found: list[batches.Sendable] = field(default_factory=list)


class Writer:
    """Sends what runs log to one MLflow store.

    Records wait a moment for others of the same run, so that a short task costs one batch, and a long one shows its
    metrics while it works. Closing a run sends all it has and waits for that, at most the setting ``timeout``.

    Args:
        client: MLflow's client for the store.
        uri: The store's tracking URI.
    """

    def __init__(self, client: MlflowClient, uri: str) -> None:
        self._client = client
        self._uri = uri
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting: dict[str, _Waiting] = {}
        self._lock = threading.Lock()
        self._down: tuple[float, TrackingError] | None = None
        self._thread: threading.Thread | None = None

    def create(self, experiment_id: str, name: str, tags: dict[str, str]) -> MlflowRun:
        """Create a run and return it.

        Raises:
            TrackingError: If MLflow refuses or does not answer in time.
        """
        start = _now()
        return self._wait(
            lambda: self._client.create_run(experiment_id, start_time=start, tags=batches.tags_of(tags), run_name=name)
        )

    def put(self, run_id: str, experiment_id: str, found: Iterable[records.Record]) -> None:
        """Take records of a run; models are serialized here and now, so that later changes to them are not logged."""
        taken = [models.save(record) if isinstance(record, records.Model) else record for record in found]
        if not taken:
            return
        with self._lock:
            new = run_id not in self._waiting
            self._waiting.setdefault(run_id, _Waiting(experiment_id, time.monotonic())).found.extend(taken)
        if new:
            self._tell(None)

    def close(self, run_id: str, experiment_id: str, status: records.Status, ended: int, *, rolls_up: bool) -> None:
        """Send what the run still has, then end it.

        Args:
            run_id: The run.
            experiment_id: Its experiment.
            status: How it ended.
            ended: When, in milliseconds since 1970.
            rolls_up: Copy its children's metrics to it first.

        Raises:
            TrackingError: If MLflow refuses or does not answer in time.
        """

        def finish() -> None:
            try:
                self._send(run_id)
                if rolls_up:
                    rollup.roll_up(self._client, run_id, experiment_id)
            finally:
                self._client.set_terminated(run_id, status=status, end_time=ended)

        waiting = self._waiting.get(run_id)
        self._wait(finish, uploads=waiting is not None and any(map(batches.is_upload, waiting.found)))

    def flush(self, run_id: str) -> None:
        """Send what a run has waiting, and wait for that.

        Raises:
            TrackingError: If MLflow refuses or does not answer in time.
        """
        if run_id in self._waiting:
            self._wait(lambda: self._send(run_id))

    def _wait(self, job: Callable[[], T], *, uploads: bool = False) -> T:
        """Let the sender do a job and wait for it within the budget."""
        if self._down and time.monotonic() < self._down[0]:
            raise self._down[1]
        self._down = None
        result: Future[T] = Future()
        self._tell((job, result))
        budget = settings.current().timeout * (_UPLOADS if uploads else 1)
        try:
            return result.result(budget)
        except NotYet:
            shown = masked(self._uri)
            message = f"MLflow at {shown} did not answer within {budget:g} s."
            error = TrackingError(message, uri=shown, remedy="Check the server, or raise FLOWML_TIMEOUT.")
            self._down = (time.monotonic() + _COOL_DOWN, error)
            raise error from None

    def _tell(self, job: Job | None) -> None:
        """Hand the sender a job; None only wakes it to look at what waits."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="flowml-writer", daemon=True)
                self._thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_LINGER if self._waiting else None)
            except queue.Empty:
                job = None
            self._send_what_waited_long()
            if job is not None:
                self._do(*job)

    def _do(self, job: Callable[[], T], result: Future[T]) -> None:
        try:
            with explained(self._uri):
                done = job()
        except BaseException as error:  # noqa: BLE001 - it belongs to the one who waits
            result.set_exception(error)
        else:
            result.set_result(done)

    def _send_what_waited_long(self) -> None:
        before = time.monotonic() - _LINGER
        with self._lock:
            due = [run_id for run_id, waiting in self._waiting.items() if waiting.since <= before]
        for run_id in due:
            try:
                self._send(run_id)
            except Exception:  # noqa: BLE001 - tried again, and told, when the run is closed
                break

    def _send(self, run_id: str) -> None:
        with self._lock:
            waiting = self._waiting.pop(run_id, None)
        if waiting is None:
            return
        try:
            batches.send(self._client, run_id, waiting.experiment_id, waiting.found)
        except Exception as error:
            if not may_pass(error):
                raise
            with self._lock:
                later = self._waiting.pop(run_id, None)
                waiting.found.extend(later.found if later else ())
                waiting.since = time.monotonic()
                self._waiting[run_id] = waiting
            raise


def _now() -> int:
    return time.time_ns() // 1_000_000
