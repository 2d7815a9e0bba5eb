"""The probe: a task that logs in every way there is, each thing marked with the probe's own number."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import mlflow

import flowml
from flowml import task


class Depth(IntEnum):
    """How much a probe does; each does what those before it do."""

    AUTOMATIC = 0  # nothing by hand: only what flowml logs of the call
    PLAIN = 1  # parameters, metrics and a nested run, by plain MLflow
    FULL = 2  # a file, a figure and a trace
    MODEL = 3  # a model
    AUTOLOG = 4  # scikit-learn's autologging, which is on for the whole process: one at a time


class Job(NamedTuple):
    """One call of the probe."""

    number: int
    depth: int = Depth.FULL


@task
def probe(number: int, depth: int) -> dict[str, int]:
    """Log the number everywhere, and by flowml which run is MLflow's active one."""
    for _ in steps(number, depth):
        pass
    if depth >= Depth.FULL:
        square(number)
    return answer(number)


@task(name="probe")
async def probe_async(number: int, depth: int) -> dict[str, int]:
    """Do the same, giving way to other probes at each step."""
    await asyncio.sleep(0)
    for _ in steps(number, depth):
        await asyncio.sleep(0)
    if depth >= Depth.FULL:
        await square_async(number)
    await asyncio.sleep(0)
    return answer(number)


@task(name="probe")
def probe_generator(number: int, depth: int) -> Iterator[dict[str, int]]:
    """Do the same, handing something out at each step."""
    for _ in steps(number, depth):
        yield answer(number)
    if depth >= Depth.FULL:
        square(number)
    yield answer(number)


@task(name="probe")
async def probe_async_generator(number: int, depth: int) -> AsyncIterator[dict[str, int]]:
    """Do the same as an async generator."""
    await asyncio.sleep(0)
    for _ in steps(number, depth):
        await asyncio.sleep(0)
        yield answer(number)
    if depth >= Depth.FULL:
        await square_async(number)
    yield answer(number)


def steps(number: int, depth: int) -> Iterator[None]:
    """Log by plain MLflow; between any two steps others may run."""
    yield
    active = mlflow.active_run()
    flowml.log(active_run=active.info.run_id if active else "none")
    yield
    if depth >= Depth.PLAIN:
        mlflow.log_param("by_hand", number)
        yield
        for step in range(3):
            mlflow.log_metric("loss", number + step / 10, step=step)
            yield
        with mlflow.start_run(nested=True, run_name=f"inner {number}"):
            yield
            mlflow.log_param("inside", number)
            yield
    if depth >= Depth.FULL:
        _log_file(number)
        yield
        _log_figure(number)
        yield
    if depth >= Depth.MODEL:
        mlflow.sklearn.log_model(
            fitted(number), name=f"model-{number}", params={"number": number}, pip_requirements=["scikit-learn"]
        )
        yield
    if depth >= Depth.AUTOLOG:
        mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)
        try:
            fitted(number)
        finally:
            mlflow.sklearn.autolog(disable=True, silent=True)
        yield


def answer(number: int) -> dict[str, int]:
    """Return what flowml then logs by itself."""
    return {"answer": number * 3}


@mlflow.trace(name="square")
def square(number: int) -> int:
    """Be traced."""
    return number * number


@mlflow.trace(name="square")
async def square_async(number: int) -> int:
    """Be traced while others run."""
    await asyncio.sleep(0)
    return number * number


def fitted(number: int) -> Any:
    """Fit a model that has the number in it."""
    from sklearn.linear_model import Ridge

    return Ridge(alpha=number + 1).fit([[0.0], [1.0], [2.0]], [0.0, number, 2.0 * number + 1])


def _log_file(number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "number.txt"
        path.write_text(str(number))
        mlflow.log_artifact(str(path))


def _log_figure(number: int) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1))
    figure.add_subplot().plot([0, number])
    mlflow.log_figure(figure, "figure.png", save_kwargs={"metadata": {"Title": str(number)}})
