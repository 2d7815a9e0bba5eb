"""Flow runs to look at: a retried task, a cached one, a task in a task, a flow in a flow, a failure, odd names."""

from __future__ import annotations

from contextlib import suppress

import mlflow
from prefect.cache_policies import INPUTS

from flowml import flow, task


@task
def add(x: int, y: int = 1) -> float:
    """Give a metric."""
    return float(x + y)


@task(retries=1)
def flaky(x: int) -> float:
    """Succeed at the second attempt."""
    from prefect.runtime import task_run

    if task_run.run_count == 1:
        raise ValueError(x)
    return x / 2


@task(cache_policy=INPUTS, persist_result=True)
def cached(x: int) -> float:
    """Be in the cache the second time."""
    return x * 3.0


@task
def outer(x: int) -> float:
    """Call a task, and open a run by hand."""
    with mlflow.start_run(run_name="by [red]hand[/]"):
        mlflow.log_metric("z", 3)
    return add(x)


@flow(flow_run_name="inner-of-{x}")
def inner(x: int) -> float:
    """Be a flow in a flow."""
    return add(x)


@flow(flow_run_name="run-of-{n}")
def pipeline(n: int, note: str = "[bold]") -> dict[str, float]:
    """Call all of them."""
    flaky(n)
    cached(n)
    cached(n)
    outer(n)
    inner(n)
    return {"accuracy": n / 10, "loss": 1.5}


@flow(flow_run_name="same[blue]")
def named() -> float:
    """Have a name that others have, and that looks like markup."""
    return 1.0


@flow(flow_run_name="it's \x1b[31mred\tbroken")
def broken() -> None:
    """Fail, under a name that would steer a terminal."""
    raise ValueError("no [bold] luck")


def make() -> None:
    """Make one run after the other."""
    pipeline(1)
    pipeline(2)
    named()
    named()
    with suppress(ValueError):
        broken()
