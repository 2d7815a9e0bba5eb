"""One attempt at a flow run, by `python -m tests.everywhere.attempted ID`; `KILLED` names those that are killed.

`CHILDREN` says which of the calls below it have runs.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.flow_runs import suspend_flow_run

from flowml import Track, flow, task

TRACK = Track(children=os.environ.get("CHILDREN", "all"))  # type: ignore[arg-type]


@task(persist_result=True)
def part(attempt: int) -> dict[str, int]:
    """Log which attempt it is."""
    return {"attempt": attempt}


@flow(track=TRACK)
def third_time(numbers: int) -> dict[str, int]:
    """Fail until the third attempt."""
    attempt = runtime.flow_run.run_count
    part(attempt)
    if str(attempt) in os.environ.get("KILLED", ""):
        os.kill(os.getpid(), signal.SIGKILL)
    if attempt < 3:
        raise ValueError(f"failed at attempt {attempt}")
    return {"last": attempt}


@flow(persist_result=True, track=TRACK)
def suspends() -> dict[str, int]:
    """Go on in another process."""
    part(1)
    suspend_flow_run(timeout=600, key="once")
    part(2)
    return {"last": 2}


FLOWS = {each.name: each for each in (third_time, suspends)}

if __name__ == "__main__":
    with get_client(sync_client=True) as prefect:
        run = prefect.read_flow_run(sys.argv[1])
        name = prefect.read_flow(run.flow_id).name
    with suppress(Pause):
        run_flow(FLOWS[name], flow_run=run, parameters=run.parameters, return_type="state")
