"""What the DAG did, as a flow: the functions are the same, and each is called where the DAG had an arrow."""

from __future__ import annotations

from flowml import flow, task


@task
def load() -> list[float]:
    return [0.25, 0.5, 0.75]


@task
def fit(values: list[float]) -> dict[str, float]:
    return {"mean": sum(values) / len(values), "largest": max(values)}


@task
def report(fitted: dict[str, float]) -> str:
    return f"mean {fitted['mean']}"


@flow
def fitting(values: list[float]) -> dict[str, float]:
    return fit(values)


@flow
def nightly() -> str:
    return report(fit(load()))
