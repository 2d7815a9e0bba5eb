"""A call that took too long says so, in Prefect's words."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from mlflow import MlflowClient
from tests.runs import run_of, runs_of

from flowml import flow, task


def error_of(run):
    """Return the type and the text of a run's error."""
    return run.data.tags.get("flowml.error_type"), run.data.tags.get("flowml.error")


def text(client: MlflowClient, run) -> str:
    """Return the traceback."""
    return Path(client.download_artifacts(run.info.run_id, "traceback.txt")).read_text(encoding="utf-8")


def test_a_task_that_took_too_long_has_a_timeout_for_an_error(client: MlflowClient) -> None:
    """With the place where it was stopped, for sync and async ones, and for each attempt."""

    @task(timeout_seconds=0.1)
    def slow() -> None:
        threading.Event().wait(0.8)

    @task(timeout_seconds=0.1, retries=1)
    async def slow_async() -> None:
        await asyncio.sleep(5)

    @flow
    async def main() -> str:
        slow.submit().wait()
        await slow_async(return_state=True)
        return "done"

    asyncio.run(main())
    told = ("TimeoutError", "Task run exceeded timeout of 0.1 second(s)")
    assert error_of(run_of(client, "slow")) == told
    attempts = runs_of(client, "slow_async")
    assert [error_of(run) for run in attempts] == [told, told]
    for run in attempts:
        assert "await asyncio.sleep(5)" in text(client, run)


def test_a_flow_that_took_too_long_has_a_timeout_for_an_error(client: MlflowClient) -> None:
    """An error of the body's own, a timeout of the network too, stays what it is."""

    @flow(timeout_seconds=0.3)
    def slow() -> None:
        threading.Event().wait(0.8)

    @task(timeout_seconds=9)
    def refused() -> None:
        msg = "the database did not answer"
        raise TimeoutError(msg)

    @flow
    def main() -> str:
        slow(return_state=True)
        refused(return_state=True)
        return "done"

    main()
    assert error_of(run_of(client, "slow")) == ("TimeoutError", "Flow run exceeded timeout of 0.3 second(s)")
    assert error_of(run_of(client, "refused")) == ("TimeoutError", "the database did not answer")
