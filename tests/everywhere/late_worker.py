"""A flow whose tasks work in a process that cannot reach MLflow; `python -m tests.everywhere.late_worker`.

With the argument `fails` the run of the one that there is then is created before, and the flow fails. With `half` the
first of two reaches MLflow, with `reached` both, and the flow ends when its input does. With `summed` they have no
runs of their own. With `own` the flow logs metrics that tasks log, too, and one of those logs a NaN. With `dies` the
process of the pool is killed, and the flow goes on. With `away` the first of two has its run created, and MLflow is
gone then for the flow's process, too.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any

import requests
from prefect.task_runners import ProcessPoolTaskRunner

import flowml
from flowml import Track, flow, task

FAILS, HALF, REACHED = "fails" in sys.argv, "half" in sys.argv, "reached" in sys.argv
OWN, DIES, AWAY = "own" in sys.argv, "dies" in sys.argv, "away" in sys.argv
CHILDREN = Track(children="failed" if "summed" in sys.argv else "all")


@task(task_run_name="cube-{number}")
def cube(number: int) -> dict[str, int]:
    """Work where there is no network, but for Prefect."""
    if FAILS or (AWAY and number == 2):
        flowml.flush()
    if (number != 2 or not HALF) and not REACHED:
        refuse_here()
    if DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"cube": number**3}


@task
def here(number: int) -> dict[str, float]:
    """Work in the flow's process."""
    return {"square": number**2, **({"nothing": math.nan} if OWN else {})}


def refuse_here() -> None:
    """Let all that MLflow asks from this process on be refused."""

    def refuse(*_: Any, **__: Any) -> None:
        msg = "There is no network."
        raise requests.ConnectionError(msg)

    requests.Session.send = refuse  # type: ignore[method-assign]


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1), track=CHILDREN)
def pooling() -> None:
    """Have tasks in two processes."""
    here(3)
    if OWN:
        flowml.log_metrics({"here.square": 1.5, "cube.number 5": 2.5})
        flowml.flush()
    with suppress(*([BrokenProcessPool] if DIES else [])):
        cube.map([2] if FAILS or DIES else [2, 5]).wait()
    if AWAY:
        refuse_here()
    if REACHED:
        sys.stdout.write("all have ended\n")
        sys.stdout.flush()
        sys.stdin.read()
    if FAILS:
        raise ValueError


@flow
def whole() -> None:
    """Be above it."""
    pooling()


if __name__ == "__main__":
    with suppress(ValueError):
        whole()
