"""Samples the machine while a task works, by MLflow's own monitors: CPU, memory, disk, network, GPUs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flowml import faults, records
from flowml.store.flow_end.rollup import PEAK, SYSTEM

if TYPE_CHECKING:
    from flowml.store.runs import Run

_LOOKS = 2.0  # seconds between two looks at the memory: a peak may be short
_MOST_SHARE = 0.005  # of a core: a look asks for all processes, of which a machine may have thousands
_MEGABYTE = 1e6
_INTERVAL = 10.0  # seconds, as MLflow has it
_PATIENCE = 5.0  # seconds that the end of a task waits for a look that is under way
_log = logging.getLogger("prefect.flowml")


@contextmanager
def sampled(run: Run, node: str) -> Iterator[None]:
    """Sample the machine for as long as a block.

    Args:
        run: What the samples go to.
        node: What the machine is called among those that work together.
    """
    sampler = Sampler(run, node)
    try:
        yield
    finally:
        sampler.stop()


class Sampler:
    """Samples the machine in a thread of its own, from when it is made.

    The interval and the number of samples in each metric are MLflow's: ``MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL``,
    10 seconds, and ``MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING``. Short tasks have one sample, of their end.

    Args:
        run: What the samples go to.
        node: What the machine is called, where several work together.
    """

    def __init__(self, run: Run, node: str | None = None) -> None:
        import psutil
        from mlflow import environment_variables as chosen

        self._run = run
        self._interval = float(chosen.MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.get() or _INTERVAL)
        self._together = int(chosen.MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING.get() or 1)
        node = chosen.MLFLOW_SYSTEM_METRICS_NODE_ID.get() or node
        self._prefix = f"{SYSTEM}{node}/" if node else SYSTEM
        self._monitors = _monitors()  # here: the thread imports nothing
        self._psutil: Any = psutil
        self._over = threading.Event()
        self._step = 0
        self._peaks: dict[str, float] = {}
        self._thread = threading.Thread(target=self._work, name="flowml-system-metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take the last sample, and end."""
        self._over.set()
        self._thread.join(_PATIENCE)

    def _work(self) -> None:
        try:
            self._sample()
        except Exception as error:  # noqa: BLE001 - in a thread of its own; what is sampled fails no task
            faults.tell("sample the machine", error, _log, level=logging.WARNING)

    def _sample(self) -> None:
        self._psutil.cpu_percent()  # counts from here
        sampled, samples = time.monotonic(), 0
        while not self._over.wait(min(self._interval, self._look())):
            if time.monotonic() - sampled >= self._interval:
                sampled, samples = time.monotonic(), samples + 1
                self._collect()
                if samples % self._together == 0:
                    self._log_collected()
        self._look()
        self._collect()
        self._log_collected()
        self._log(PEAK, self._peaks)

    def _look(self) -> float:
        """Note what this process and those that it started hold, if that is the most until now.

        Returns:
            The seconds until the next look, so that looking costs little.
        """
        began = time.thread_time()
        held = 0
        this = self._psutil.Process()
        for each in (this, *this.children(recursive=True)):
            try:
                held += each.memory_info().rss
            except self._psutil.Error:  # it has ended meanwhile, or is another user's
                continue
        self._peak("memory_megabytes", held / _MEGABYTE)
        return max(_LOOKS, (time.thread_time() - began) / _MOST_SHARE)

    def _collect(self) -> None:
        for each in self._monitors:
            each.collect_metrics()
            for key, values in each.metrics.items():
                if key.startswith("gpu_") and key.endswith("memory_usage_megabytes"):
                    self._peak(key.replace("memory_usage", "memory"), float(values[-1]))

    def _log_collected(self) -> None:
        for each in self._monitors:
            self._log("", each.aggregate_metrics())
            each.clear_metrics()
        self._step += 1

    def _log(self, prefix: str, found: Mapping[str, float]) -> None:
        name = f"{self._prefix}{prefix}"
        self._run.put([records.Metric(f"{name}{key}", float(value), self._step) for key, value in found.items()])

    def _peak(self, key: str, value: float) -> None:
        self._peaks[key] = round(max(value, self._peaks.get(key, 0.0)), 1)


def _monitors() -> list[Any]:
    """Return MLflow's monitors of this machine.

    Not its `SystemMetricsMonitor`, which has a thread of its own: that asks MLflow before each sample whether the run
    goes on, logs past the journal, and is silent in the first ten seconds.
    """
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

    found: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    for of_gpus in (GPUMonitor, ROCMMonitor):
        try:
            found.append(of_gpus())
            break
        except Exception:  # noqa: BLE001 - each says so in its own way that this machine has none
            _log.debug("flowml: no GPUs are sampled by %s", of_gpus.__name__, exc_info=True)
    return found
