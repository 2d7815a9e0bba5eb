"""A flow with three subflows, a pool each; `python -m tests.everywhere.pools` prints how long it took."""

from __future__ import annotations

import sys
import time

from prefect.task_runners import ProcessPoolTaskRunner

import flowml
from flowml import flow, task


@task
def one(number: int) -> int:
    """Log something in a process of a pool."""
    flowml.log_metrics({"number": number})
    return number


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def pool(number: int) -> int:
    """Have a pool for one task."""
    return one.submit(number).result()


@flow
def three() -> int:
    """Have three pools, one after the other."""
    return sum(pool(number) for number in range(3))


if __name__ == "__main__":
    began = time.monotonic()
    assert three() == 3
    sys.stdout.write(f"seconds={time.monotonic() - began}\n")
