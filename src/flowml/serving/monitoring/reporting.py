"""What each version did, as metrics in MLflow: requests, time, whether two agree, and how right they were."""

from __future__ import annotations

import logging
import os
import platform
import statistics
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from flowml import formats
from flowml.serving.exchange import Exchange
from flowml.serving.monitoring.kept import newest_truth, written
from flowml.serving.monitoring.measured import GOOD, compared_in, percentiles

if TYPE_CHECKING:
    from pathlib import Path

    from flowml.store.backend.connection import Connection

EXPERIMENT = "flowml serving"
"""The experiment with a run for each version that a server has asked."""

_logger = logging.getLogger(__name__)

_MOST = 10_000  # requests of a minute whose time is kept
_SETTLED = 20.0  # seconds after which all is written that was said before


@dataclass(frozen=True, slots=True)
class _Version:
    """Whose figures they are."""

    model: str
    number: str
    model_id: str


@dataclass(slots=True)
class _Counts:
    """What a version did since it was last told."""

    version: _Version
    requests: int = 0
    errors: int = 0
    compared: int = 0
    equal: int = 0
    took: list[float] = field(default_factory=list)

    def metrics(self) -> dict[str, float]:
        found = {"requests": float(self.requests), "errors": float(self.errors)}
        if self.took:
            found |= {"milliseconds.mean": statistics.fmean(self.took), **percentiles(self.took)}
        if self.compared:
            found["shadow.equal"] = self.equal / self.compared
        return found


class Report:
    """Counts what the versions of a server do, and tells MLflow of it again and again.

    Args:
        connection: The store with the registered model.
        every: Seconds between two times.
        folder: Where the model's requests are kept, and the feedback on them.
    """

    def __init__(self, connection: Connection, every: float, folder: Path) -> None:
        self._connection, self._every, self._folder = connection, every, folder
        self._counts: dict[_Version, _Counts] = {}
        self._runs: dict[_Version, str] = {}
        self._truth = ""  # the newest that the versions were compared with
        self._compares = FileLock(folder / "compared.lock", timeout=0)  # held by one process of all that serve it
        self._step = 0
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._tell_often, name="flowml-report", daemon=True)
        self._thread.start()

    def answered(self, exchange: Exchange) -> None:
        """Count a request that a version answered."""
        with self._lock:
            counts = self._of(exchange)
            counts.requests += 1
            counts.errors += exchange.status not in GOOD
            if len(counts.took) < _MOST:
                counts.took.append(exchange.milliseconds)

    def compared(self, exchange: Exchange, shadow: Exchange) -> None:
        """Count a request that the version beside was asked too, and whether it said the same."""
        self.answered(shadow)
        with self._lock:
            counts = self._of(shadow)
            counts.compared += 1
            counts.equal += (exchange.status, exchange.answer) == (shadow.status, shadow.answer)

    def close(self) -> None:
        """Tell what there is."""
        self._is_over.set()
        self._thread.join(self._every)

    def _of(self, exchange: Exchange) -> _Counts:
        fetched = exchange.served.fetched
        version = _Version(fetched.model, fetched.version, fetched.model_id)
        return self._counts.setdefault(version, _Counts(version))

    def _tell_often(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._is_over.wait(self._every)
            with self._lock:
                counts, self._counts = self._counts, {}
            self._step += 1
            for each in counts.values():
                self._tell(each.version, each.metrics())
            self._compare()

    def _compare(self) -> None:
        """Tell how right the versions were, where somebody has said what was."""
        truth = newest_truth(self._folder)
        if truth in ("", self._truth):
            return
        if not self._compares.is_locked:
            with suppress(Timeout):
                self._compares.acquire(timeout=0)
        if self._compares.is_locked:
            for each in compared_in(self._folder):
                self._tell(_Version(each.model, each.version, each.model_id), each.metrics())
            if written(truth) < formats.now() - _SETTLED * 1000:  # else the answers may be written after it
                self._truth = truth

    def _tell(self, version: _Version, metrics: dict[str, float]) -> None:
        try:
            self._log(version, metrics)
        except Exception as error:  # noqa: BLE001 - MLflow is away: requests go on
            _logger.warning("flowml: MLflow was not told what version %s did: %s", version.number, error)

    def _log(self, version: _Version, metrics: dict[str, float]) -> None:
        from mlflow.entities import Metric

        client, now = self._connection.client, formats.now()
        run_id = self._runs.get(version) or self._begin(version)
        more: dict[str, Any] = {"model_id": version.model_id, "run_id": run_id} if version.model_id else {}
        client.log_batch(
            run_id, metrics=[Metric(key, value, now, self._step, **more) for key, value in metrics.items()]
        )

    def _begin(self, version: _Version) -> str:
        """Make a run for what this process does with a version; it is over at once, for nobody knows when it is."""
        client, where = self._connection.client, f"{platform.node()} {os.getpid()}"
        tags = {"flowml.kind": "serving", "flowml.model_version": f"{version.model}/{version.number}"}
        name = f"{version.model}/{version.number} served by {where}"
        run = client.create_run(self._connection.experiment_id(EXPERIMENT), tags=tags, run_name=name)
        client.set_terminated(run.info.run_id)
        self._runs[version] = str(run.info.run_id)
        return self._runs[version]
