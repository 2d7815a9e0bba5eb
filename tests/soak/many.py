"""A flow of many mapped tasks, in a process of its own: ``python -m tests.soak.many prefect 2000``."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import prefect
from prefect.task_runners import ThreadPoolTaskRunner

import flowml

MAPPED = "measure"


def measure(number: int, name: str) -> dict[str, float]:
    """Log two parameters and two metrics, all different from those of any other number."""
    return {"square": float(number * number), "length": len(name) + number / 8}


def fan_out(decorators: Any, many: int) -> None:
    """Map the task over so many numbers; the flow ends when all of them have."""
    mapped = decorators.task(measure, name=MAPPED, cache_policy=prefect.cache_policies.NO_CACHE)

    @decorators.flow(name="fan-out", task_runner=ThreadPoolTaskRunner(max_workers=16))
    def run(numbers: list[int]) -> None:
        mapped.map(numbers, [f"name-{number}" for number in numbers]).wait()

    run(list(range(many)))


def resident() -> float:
    """Return the megabytes of memory that this process has now; Linux tells."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def highest() -> float:
    """Return the most that it ever had; `ru_maxrss` would begin with what the parent process had."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 2**10


if __name__ == "__main__":
    decorators = flowml if sys.argv[1] == "flowml" else prefect
    started = resident()
    fan_out(decorators, 5)  # loads what is loaded once, such as MLflow
    before, began = resident(), time.monotonic()
    fan_out(decorators, int(sys.argv[2]))
    figures = {"seconds": time.monotonic() - began, "growth": highest() - before, "all": highest() - started}
    print(json.dumps(figures))  # noqa: T201 - read by the test
