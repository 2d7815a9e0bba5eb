"""Flows that stop and go on later in another process: served by one."""

from __future__ import annotations

import os
from pathlib import Path

from prefect import runtime, serve
from prefect.flow_runs import suspend_flow_run

from flowml import flow, task


@task(persist_result=True)
def part(name: str) -> dict[str, int]:
    """Do one part of the work."""
    return {name: os.getpid()}


@flow(persist_result=True)
def suspends(timeout: int = 600) -> None:
    """Suspend itself, and go on in another process."""
    part("before")
    suspend_flow_run(timeout=timeout, key="once")
    part("after")


@flow
def fails_first(folder: Path, attempts: int) -> None:
    """Fail until the last attempt."""
    count = runtime.flow_run.run_count
    part(f"attempt_{count}")
    (folder / f"attempt-{count}").touch()
    if count < attempts:
        raise ValueError(f"failed at attempt {count}")


if __name__ == "__main__":
    serve(suspends.to_deployment("ends"), fails_first.to_deployment("ends"))
