"""A task whose module has something beside it that cannot be pickled."""

from __future__ import annotations

import threading

from flowml import task
from tests.everywhere.probe import probe

LOCK = threading.Lock()


@task(name="probe")
def guarded_probe(number: int, depth: int) -> dict[str, int]:
    """Be the probe."""
    answer: dict[str, int] = probe.fn(number, depth)
    return answer
