"""A flow with tasks, a model and a file; it says at its end that it ran."""

from __future__ import annotations

import sys
from typing import Annotated

from sklearn.linear_model import LinearRegression

from flowml import Artifact, flow, task


@task
def train(rows: int) -> LinearRegression:
    """Train a model."""
    return LinearRegression().fit([[float(n)] for n in range(rows)], [2.0 * n for n in range(rows)])


@task
def score(model: LinearRegression) -> dict[str, float]:
    """Score it."""
    return {"at_three": float(model.predict([[3.0]])[0])}


@task
def report(text: str) -> Annotated[str, Artifact("report.md")]:
    """Write a file."""
    return text


@flow(name=sys.argv[1])
def pipeline(rows: int = 5) -> str:
    """Call them all."""
    score(train(rows))
    report("all is well")
    return "done"


sys.stdout.write(f"The flow is {pipeline()}\n")
