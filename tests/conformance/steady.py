"""The program that works for long: flows of mapped tasks, one after the other; `python -m tests.conformance.steady`.

It prints how many tasks gave their number back, and the megabytes of memory that it had after each flow.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from flowml import flow, task
from tests.soak.many import resident

IN_A_FLOW = 100


@task(task_run_name="measure-{number}", cache_policy=NO_CACHE)
def measure(number: int) -> dict[str, float]:
    """Log a parameter and two metrics that no other number has."""
    return {"square": float(number * number), "eighth": number / 8}


@flow(flow_run_name="part-{first}", task_runner=ThreadPoolTaskRunner(max_workers=8))
def part(first: int, many: int) -> list[Any]:
    """Map over some numbers."""
    return measure.map(list(range(first, first + many))).result()


if __name__ == "__main__":
    total, right, memory = int(sys.argv[1]), 0, []
    for first in range(0, total, IN_A_FLOW):
        given = part(first, min(IN_A_FLOW, total - first))
        right += sum(each["eighth"] == number / 8 for number, each in enumerate(given, first))
        memory.append(round(resident(), 1))
    print("SEEN", json.dumps({"right": right, "memory": memory}), flush=True)  # noqa: T201 - read by the test
