"""A flow of many mapped tasks, in a process of its own: ``python -m tests.soak.many prefect 2000 threads``.

With ``dask`` they are mapped over the processes of a Dask cluster, and only the failed ones get runs of their own.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import prefect
from prefect.task_runners import ThreadPoolTaskRunner

import flowml

MAPPED = "measure"
RARE = 7
"""Of a thousand numbers the one that fails."""


def measure(number: int, name: str) -> dict[str, float]:
    """Log two parameters and two metrics, all different from those of any other number."""
    return {"square": float(number * number), "length": len(name) + number / 8}


def measure_most(number: int, name: str) -> dict[str, float]:
    """Fail for one in a thousand."""
    if number % 1000 == RARE:
        msg = f"no data for {number}"
        raise ValueError(msg)
    return measure(number, name)


def fan_out(decorators: Any, many: int, where: str) -> None:
    """Map the task over so many numbers; the flow ends when all of them have."""
    on_dask = where == "dask"
    options = {"track": flowml.Track(children="failed")} if on_dask and decorators is flowml else {}
    body = measure_most if on_dask else measure
    mapped = decorators.task(body, name=MAPPED, cache_policy=prefect.cache_policies.NO_CACHE)

    @decorators.flow(name="fan-out", task_runner=runner(where), **options)
    def run(many: int) -> None:  # no list of all numbers: Prefect hands a flow's parameters to Dask with each task
        numbers = range(many)
        mapped.map(list(numbers), [f"name-{number}" for number in numbers]).wait()

    run(many)


def runner(where: str) -> Any:
    """Return what runs the tasks: threads of this process, or processes of a Dask cluster."""
    if where == "threads":
        return ThreadPoolTaskRunner(max_workers=16)
    from prefect_dask import DaskTaskRunner

    cluster = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    return DaskTaskRunner(cluster_kwargs=cluster)


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count, ten times a second, how many runs wait in this process to be sent; all that was seen."""
    from flowml.store.sending import writer

    seen, over = [0], threading.Event()

    def count() -> None:
        while not over.wait(0.1):
            seen.append(sum(each.count_waiting() for each in writer.all_writers()))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(10)


def resident() -> float:
    """Return the megabytes of memory that this process has now; Linux tells."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def highest() -> float:
    """Return the most that it ever had; `ru_maxrss` would begin with what the parent process had."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 2**10


if __name__ == "__main__":
    name, number, where = sys.argv[1:]
    decorators = flowml if name == "flowml" else prefect
    started = resident()
    fan_out(decorators, 5, where)  # loads what is loaded once, such as MLflow
    before, began = resident(), time.monotonic()
    with counted() as waiting:
        fan_out(decorators, int(number), where)
    figures = {"seconds": time.monotonic() - began, "growth": highest() - before, "all": highest() - started}
    print(json.dumps({**figures, "waiting": max(waiting)}))  # noqa: T201 - read by the test
