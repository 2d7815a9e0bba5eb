"""What each version did, as metrics in MLflow: how many requests, how long they took, and whether two agree."""

from __future__ import annotations

import logging
import os
import platform
import statistics
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowml import formats
from flowml.serving.exchange import Exchange

if TYPE_CHECKING:
    from flowml.serving.files import Fetched
    from flowml.store.backend.connection import Connection

EXPERIMENT = "flowml serving"
"""The experiment with a run for each version that a server has asked."""

_logger = logging.getLogger(__name__)

_MOST = 10_000  # requests of a minute whose time is kept
_GOOD = range(200, 400)


@dataclass(slots=True)
class _Counts:
    """What a version did since it was last told."""

    fetched: Fetched
    requests: int = 0
    errors: int = 0
    compared: int = 0
    equal: int = 0
    took: list[float] = field(default_factory=list)

    def metrics(self) -> dict[str, float]:
        found = {"requests": float(self.requests), "errors": float(self.errors)}
        if self.took:
            cuts = statistics.quantiles(self.took, n=100) if len(self.took) > 1 else [self.took[0]] * 99
            found |= {"milliseconds.mean": statistics.fmean(self.took)}
            found |= {"milliseconds.p50": cuts[49], "milliseconds.p99": cuts[98]}
        if self.compared:
            found["shadow.equal"] = self.equal / self.compared
        return found


class Report:
    """Counts what the versions of a server do, and tells MLflow of it again and again.

    Args:
        connection: The store with the registered model.
        every: Seconds between two times.
    """

    def __init__(self, connection: Connection, every: float) -> None:
        self._connection, self._every = connection, every
        self._counts: dict[str, _Counts] = {}
        self._runs: dict[str, str] = {}
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
            counts.errors += exchange.status not in _GOOD
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
        return self._counts.setdefault(fetched.version, _Counts(fetched))

    def _tell_often(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._is_over.wait(self._every)
            with self._lock:
                counts, self._counts = self._counts, {}
            self._step += 1
            for each in counts.values():
                try:
                    self._tell(each)
                except Exception as error:  # noqa: BLE001 - MLflow is away: requests go on
                    _logger.warning("flowml: MLflow was not told what version %s did: %s", each.fetched.version, error)

    def _tell(self, counts: _Counts) -> None:
        from mlflow.entities import Metric

        client, fetched, now = self._connection.client, counts.fetched, formats.now()
        run_id = self._runs.get(fetched.version) or self._begin(fetched)
        more: dict[str, Any] = {"model_id": fetched.model_id, "run_id": run_id} if fetched.model_id else {}
        metrics = [Metric(key, value, now, self._step, **more) for key, value in counts.metrics().items()]
        client.log_batch(run_id, metrics=metrics)

    def _begin(self, fetched: Fetched) -> str:
        """Make a run for what this process does with a version; it is over at once, for nobody knows when it is."""
        client, where = self._connection.client, f"{platform.node()} {os.getpid()}"
        tags = {"flowml.kind": "serving", "flowml.model_version": f"{fetched.model}/{fetched.version}"}
        name = f"{fetched.model}/{fetched.version} served by {where}"
        run = client.create_run(self._connection.experiment_id(EXPERIMENT), tags=tags, run_name=name)
        client.set_terminated(run.info.run_id)
        self._runs[fetched.version] = str(run.info.run_id)
        return self._runs[fetched.version]
