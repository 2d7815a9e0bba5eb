"""Flows that lose what they need while they work: a worker's process, or Prefect's server; the latter as a script."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from prefect.task_runners import ProcessPoolTaskRunner

from flowml import current_run, flow, task


@task
def dies_once(folder: Path) -> int:
    """Take the process along the first time, in the middle of the work."""
    current_run()  # it is in MLflow by now
    died = folder / "died"
    if not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 1


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def loses_a_worker(folder: Path) -> int:
    """Fail with the worker that a task was in."""
    return dies_once.submit(folder).result()


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def gets_over_it(folder: Path) -> str:
    """Lose a worker, and complete."""
    try:
        dies_once.submit(folder).result()
    except BrokenProcessPool as error:
        return type(error).__name__
    return "nothing was lost"


@task
def step() -> int:
    """Succeed."""
    return 1


@flow
def outlives_the_server(folder: Path) -> None:
    """Work while the server goes."""
    step()
    (folder / "working").touch()
    while not (folder / "gone").exists():
        time.sleep(0.05)
    step()


if __name__ == "__main__":
    outlives_the_server(Path(sys.argv[1]))
