"""A flow whose task works in a process that cannot reach MLflow; run by `python -m tests.everywhere.late_worker`."""

from __future__ import annotations

from typing import Any

import requests
from prefect.task_runners import ProcessPoolTaskRunner

from flowml import flow, task


@task(task_run_name="cube-{number}")
def cube(number: int) -> dict[str, int]:
    """Work where there is no network, but for Prefect."""
    refuse_here()
    return {"cube": number**3}


@task
def here(number: int) -> dict[str, int]:
    """Work in the flow's process."""
    return {"square": number**2}


def refuse_here() -> None:
    """Let all that MLflow asks from this process on be refused."""

    def refuse(*_: Any, **__: Any) -> None:
        msg = "There is no network."
        raise requests.ConnectionError(msg)

    requests.Session.send = refuse  # type: ignore[method-assign]


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def pooling() -> None:
    """Have tasks in two processes."""
    here(3)
    cube.map([2, 5]).wait()


@flow
def whole() -> None:
    """Be above it."""
    pooling()


if __name__ == "__main__":
    whole()
