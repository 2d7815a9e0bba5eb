"""The reference: a flow that logs in every way, the same each time; `python -m tests.conformance.reference`.

It prints what its user sees: the result, and the state of each of Prefect's runs. What it logs goes by the name of the
case, `FAULTS_CASE`. With `FAULTS_BY_HAND` it logs by plain `mlflow.*` too, which fails where MLflow does.
`FAULTS_CHILDREN` says which tasks of its pool get runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from matplotlib.figure import Figure
from prefect import runtime
from prefect.cache_policies import INPUTS
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from sklearn.linear_model import LinearRegression

import flowml
from flowml import Artifact, Dataset, Model, Track, flow, task

CASE = os.environ["FAULTS_CASE"]
BY_HAND = "FAULTS_BY_HAND" in os.environ


@task(task_run_name="square-{number}")
def square(number: int) -> dict[str, int]:
    """Be mapped over threads."""
    return {"square": number * number, "next": number + 1}


@task(task_run_name="double-{number}")
async def double(number: int) -> float:
    """Be gathered."""
    await asyncio.sleep(0)
    return number * 2.5


@task(task_run_name="cube-{number}")
def cube(number: int) -> dict[str, int]:
    """Work in another process."""
    flowml.log(half=number / 2)
    return {"cube": number**3}


@task(retries=1, task_run_name="flaky")
def flaky(number: int) -> int:
    """Succeed at the second attempt."""
    if runtime.task_run.run_count == 1:
        raise ValueError(number)
    return number


@task(cache_policy=INPUTS, persist_result=True, task_run_name="cached")
def cached(number: int) -> dict[str, int]:
    """Be found in the cache the second time."""
    return {"cached": number + 10}


@task(task_run_name="frame")
def frame(rows: int) -> Annotated[pd.DataFrame, Dataset("numbers", save=True)]:
    """Make a table."""
    return pd.DataFrame({"x": [float(row) for row in range(rows)], "y": [3.0 * row + 1 for row in range(rows)]})


@task(task_run_name="fit")
def fit(
    table: pd.DataFrame,
) -> tuple[Annotated[LinearRegression, Model("line", register=f"{CASE}-line", alias="champion")], dict[str, float]]:
    """Make a model, registered with an alias, and what it is worth."""
    model = LinearRegression().fit(table[["x"]], table["y"])
    return model, {"r2": round(float(model.score(table[["x"]], table["y"])), 6)}


@task(task_run_name="files")
def files(name: str) -> tuple[Path, Annotated[dict[str, Any], Artifact("notes/report.json")], str]:
    """Write a file, a report and a long text."""
    path = Path(tempfile.mkdtemp()) / "data.bin"
    path.write_bytes(bytes(range(256)) * 100)
    return path, {"name": name, "rows": [1, 2, 3]}, f"{name} " * 200


@task(task_run_name="figure")
def figure() -> Figure:
    """Draw."""
    drawn = Figure(figsize=(1, 1))
    drawn.add_subplot().plot([0, 1, 4])
    return drawn


@task(task_run_name="losses")
def losses(epochs: int) -> Iterator[dict[str, float]]:
    """Give metrics a history."""
    for epoch in range(epochs):
        yield {"loss": 1 / (epoch + 1), "gain": float(epoch)}


@task(task_run_name="by-hand")
def by_hand() -> None:
    """Log by plain MLflow."""
    import mlflow

    mlflow.log_param("by", "hand")
    for step in range(3):
        mlflow.log_metric("hand", step * 1.5, step=step)


@flow(task_runner=ThreadPoolTaskRunner(max_workers=4), flow_run_name="threads")
def threads() -> list[Any]:
    """Map over threads."""
    return square.map(list(range(6))).result()


@flow(flow_run_name="loop")
async def loop() -> list[float]:
    """Gather on an event loop."""
    return list(await asyncio.gather(*(double(number) for number in range(4))))


@flow(
    task_runner=ProcessPoolTaskRunner(max_workers=1),
    flow_run_name="pool",
    track=Track(children=os.environ.get("FAULTS_CHILDREN", "all")),
)
def pool() -> list[Any]:
    """Map over a process."""
    return cube.map([2, 3]).result()


@flow(name="reference", flow_run_name="reference", version="1")
def reference(rows: int, pooled: bool) -> dict[str, Any]:  # noqa: FBT001 - a parameter that is logged
    """Do all of it."""
    flowml.log_params(seed=7)
    squares = threads()
    doubles = asyncio.run(loop())
    cubes = pool() if pooled else []
    states = {"flaky": flaky(1, return_state=True), "cached": cached(1, return_state=True)}
    states["cached again"] = cached(1, return_state=True)
    table = frame(rows)
    _, score = fit(table)
    files("report")
    figure()
    curve = list(losses(5))
    if BY_HAND:
        by_hand()
    flowml.log_metrics({"rows": float(rows)}, step=1)
    names = {name: f"{state.type.value} {state.name}" for name, state in states.items()}
    return {"squares": squares, "doubles": doubles, "cubes": cubes, "score": score, "curve": curve, "states": names}


if __name__ == "__main__":
    ended = reference(20, "pooled" in sys.argv[1:], return_state=True)
    seen = {"state": f"{ended.type.value} {ended.name}", "result": ended.result(raise_on_failure=False)}
    print("SEEN", json.dumps(seen, default=repr), flush=True)  # noqa: T201 - read by the tests
