"""A flow that is killed while it works: tasks one after the other, at once, retried, by hand, and a flow inside."""

from __future__ import annotations

import mlflow

from flowml import flow, task


@task
def step(number: int) -> int:
    """Work for a moment."""
    return sum(range(number * 10_000))


@task(retries=1)
def flaky(number: int) -> int:
    """Succeed at the second attempt."""
    from prefect.runtime import task_run

    if task_run.run_count == 1:
        raise ValueError(number)
    return number


@task
def by_hand(number: int) -> None:
    """Open a run by plain MLflow."""
    with mlflow.start_run(run_name="by hand"):
        mlflow.log_metric("number", number)


@flow
def inner() -> int:
    """Be a flow in a flow."""
    return step(3)


@flow
def doomed() -> None:
    """Work until killed."""
    print("begun", flush=True)  # noqa: T201 - read by the test
    for number in range(10_000):
        step.map(range(4)).wait()
        flaky(number)
        by_hand(number)
        inner()


if __name__ == "__main__":
    doomed()
