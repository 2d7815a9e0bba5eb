"""Flows that stop and go on later in another process: served by one."""

from __future__ import annotations

import os
from pathlib import Path

from prefect import runtime, serve
from prefect.flow_runs import suspend_flow_run

from flowml import Track, flow, task


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


@flow(track=Track(children="failed"))
def summed_up(folder: Path, attempts: int) -> None:
    """Do the same with parts that have no runs."""
    fails_first.fn(folder, attempts)


if __name__ == "__main__":
    serve(*(each.to_deployment("ends") for each in (suspends, fails_first, summed_up)))
