"""Flows that end in every way in which a run can end inside one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from prefect import allow_failure, runtime
from prefect.cache_policies import INPUTS
from prefect.exceptions import ParameterTypeError
from prefect.states import Cancelled, Completed, Failed
from prefect.transactions import IsolationLevel, transaction

from flowml import flow, task


@task
def add_one(number: int) -> int:
    """Succeed."""
    return number + 1


@task(retries=2)
def third_time_lucky() -> int:
    """Fail twice, at once tried again."""
    if runtime.task_run.run_count < 3:
        raise ValueError("not yet")
    return runtime.task_run.run_count


@task(retries=1, retry_delay_seconds=1.5)
async def second_time_lucky() -> dict[str, int]:
    """Fail once, tried again later; another metric each time."""
    count = runtime.task_run.run_count
    if count < 2:
        raise ValueError("not yet")
    return {"count": count}


@task(retries=3, retry_condition_fn=lambda _task, _run, state: "again" in str(state.message))
def not_worth_a_retry(text: str) -> None:
    """Fail with something that is tried again, or not."""
    raise ValueError(text)


@task(cache_policy=INPUTS)
def remembered(number: int) -> dict[str, int]:
    """Be found in the cache the second time."""
    return {"doubled": 2 * number}


@task(timeout_seconds=0.5)
def too_slow() -> None:
    """Take too long, where it can be interrupted."""
    for _ in range(40):
        time.sleep(0.05)


@task(timeout_seconds=0.5)
async def too_slow_async() -> None:
    """Take too long, where it can be cancelled."""
    await asyncio.sleep(5)


STATES = {"Completed": Completed, "Failed": Failed, "Cancelled": Cancelled}


@task
def returns(state: str) -> Any:
    """Return a state."""
    return STATES[state](message="so it says")


@task(retries=1)
def returns_failed() -> Any:
    """Return a failed state, which is tried again."""
    return Failed(message="it says so itself")


@task(persist_result=True)
def returns_what_cannot_be_kept() -> Any:
    """Return what no serializer takes."""
    return (number for number in range(3))


@task(cache_policy=INPUTS)
def remembered_failure(number: int) -> Any:
    """Return a failed state, which Prefect 3.8 finds in the cache the second time and 3.9 does not keep there."""
    return Failed(message=f"no {number}")


@task
def gives_up() -> None:
    """Leave by an exception that is no Exception."""
    raise KeyboardInterrupt


def stops() -> str:
    """Leave by an exception that is no Exception, before the body is called."""
    raise KeyboardInterrupt


@task(task_run_name=stops)
def crashes_early() -> None:
    """Crash before the body is called."""


@task(retries=1, cache_policy=INPUTS.configure(isolation_level=IsolationLevel.SERIALIZABLE))
def cannot_be_locked(number: int) -> int:
    """Fail before the body is called, because its transaction cannot begin, and again."""
    return number


@task
def undone() -> int:
    """Be rolled back."""
    return 1


@flow
def plain() -> int:
    """Succeed."""
    return add_one(1)


@flow
def task_retries() -> None:
    """Try tasks again."""
    third_time_lucky()
    not_worth_a_retry("again", return_state=True)
    not_worth_a_retry("never", return_state=True)


@flow
async def task_retries_later() -> None:
    """Try an async task again, later."""
    await second_time_lucky()


@flow(retries=1)
def flow_retries() -> int:
    """Fail the first time, and keep what the tasks did."""
    add_one(1)
    if runtime.flow_run.run_count < 2:
        raise ValueError("not yet")
    return add_one(2)


@flow
def caches(seed: int) -> None:
    """Find a result in the cache."""
    remembered(seed)
    remembered(seed)
    remembered.submit(seed).wait()


@flow
def times_out_in_tasks() -> None:
    """Let tasks take too long: on the main thread and in another."""
    too_slow(return_state=True)
    too_slow.submit().wait()


@flow
async def times_out_in_async_tasks() -> None:
    """Let an async task take too long."""
    await too_slow_async(return_state=True)


@flow(timeout_seconds=1)
def times_out() -> None:
    """Take too long itself."""
    add_one(1)
    for _ in range(60):
        time.sleep(0.05)


@flow(timeout_seconds=1)
async def times_out_async() -> None:
    """Take too long itself, cancelled."""
    add_one(1)
    await asyncio.sleep(5)


@flow
def returned_states() -> Any:
    """Return states from tasks."""
    returns("Completed", return_state=True)
    returns("Failed", return_state=True)
    returns("Cancelled", return_state=True)
    returns_failed(return_state=True)
    return Completed(message="whatever the tasks said")


@flow
def returned_failures_and_caches(seed: int) -> Any:
    """Let a task return a failed state twice, with a cache; and within a transaction."""
    remembered_failure(seed, return_state=True)
    remembered_failure(seed, return_state=True)
    with transaction():
        returns("Failed", return_state=True)
    return Completed(message="whatever the tasks said")


@flow(retries=1)
def returned_failure_is_retried() -> Any:
    """Return a failed state the first time, which Prefect 3.9 tries again and 3.8 does not."""
    add_one(runtime.flow_run.run_count)
    return Failed(message="not yet") if runtime.flow_run.run_count < 2 else Completed(message="now")


@flow(retries=1)
async def returned_failure_is_retried_async() -> Any:
    """Return a failed state each time."""
    add_one(runtime.flow_run.run_count)
    return Failed(message="never")


@flow
def returns_cancelled() -> Any:
    """Return a cancelled state."""
    return Cancelled(message="off")


@flow
def returns_failed_future() -> Any:
    """Return the future of a task that fails, which fails the flow."""
    return returns.submit("Failed")


@flow
def result_not_kept() -> None:
    """Return from a task what cannot be kept."""
    returns_what_cannot_be_kept(return_state=True)


@flow
def upstream_failed() -> None:
    """Give a task the result of one that failed."""
    failed = returns.submit("Failed")
    add_one.submit(failed).wait()
    add_one.submit(allow_failure(failed)).wait()


@flow(validate_parameters=True)
def takes_a_number(number: int) -> None:
    """Be called with what is no number."""


@flow
async def takes_a_number_async(number: int) -> None:
    """Be called with what is no number."""


@flow
def gives_numbers(number: int) -> Iterator[int]:
    """Be called with what is no number."""
    yield number


@flow(validate_parameters=False)
def takes_anything(number: int) -> int:
    """Be called with what is no number, and fail by itself."""
    return number + 1


@flow
def refused() -> None:
    """Call flows with what they refuse."""
    takes_a_number("no number", return_state=True)
    with suppress(ParameterTypeError):
        for _ in gives_numbers("no number"):
            pass
    takes_anything("no number", return_state=True)
    calls_a_flow("no number")


@task
def calls_a_flow(number: Any) -> None:
    """Call a flow with what it refuses."""
    takes_a_number(number, return_state=True)


@flow
def fails_before_the_body() -> None:
    """Let tasks end before their bodies are called."""
    cannot_be_locked(1, return_state=True)
    crashes_early()


@flow
def upstream_of_a_flow_failed() -> None:
    """Give a flow the result of a task that failed."""
    failed = returns.submit("Failed")
    takes_a_number(failed, return_state=True)


@flow
def crashes_in_a_task() -> None:
    """Crash in a task."""
    gives_up()


@flow
def crashes() -> None:
    """Crash."""
    add_one(1)
    raise SystemExit(3)


@flow
def rolls_back() -> None:
    """Roll a transaction back."""
    with transaction():
        undone()
        add_one(1)
        raise ValueError("undo it")


@flow
def outer() -> None:
    """Call flows that fail and succeed."""
    plain()
    returns_cancelled(return_state=True)
    times_out(return_state=True)
