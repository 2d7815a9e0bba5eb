"""What users write with flowml, for mypy and pyright to check; never run.

Each call gives the same type as with Prefect's own decorators. A line with an ignore must be an error: both checkers
report an ignore that is not needed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Annotated

import prefect
from prefect.client.schemas.objects import State
from prefect.futures import PrefectDistributedFuture, PrefectFuture, PrefectFutureList
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import MaterializingTask, exponential_backoff
from typing_extensions import assert_type

import flowml
from flowml import Artifact, Dataset, Flow, Metric, Model, Param, Skip, Task, Track, flow, materialize, task

# --- Tasks, bare ---


@task
def double(x: int, /) -> int:
    return 2 * x


@task
def scale(x: float, *, by: float = 1.0) -> float:
    return x * by


@task
async def fetch(url: str, /) -> bytes:
    return url.encode()


@task
def losses(epochs: int, /) -> Generator[float, None, None]:
    yield 1 / epochs


@task
async def ticks(n: int, /) -> AsyncGenerator[int, None]:
    yield n


def sync_task() -> None:
    assert_type(double, Task[[int], int])
    assert_type(double(1), int)
    assert_type(double(1, return_state=True), State[int])
    assert_type(double.submit(1), PrefectFuture[int])
    assert_type(double.submit(1).result(), int)
    assert_type(double.submit(1, return_state=True), State[int])
    assert_type(double.map([1, 2]), PrefectFutureList[int])
    assert_type(double.map([1, 2]).result(), list[int])
    assert_type(double.map([1, 2], return_state=True), list[State[int]])
    assert_type(double.delay(1), PrefectDistributedFuture[int])
    assert_type(double.fn(1), int)

    double("1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    double.submit("1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    double.fn("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    assert_type(scale(1.0, by=2.0), float)
    scale(1.0, times=2.0)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def async_task() -> None:
    assert_type(await fetch("a"), bytes)
    assert_type(await fetch.fn("a"), bytes)


async def generator_tasks() -> None:
    assert_type(losses, Task[[int], Generator[float, None, None]])
    assert_type(losses(3), Generator[float, None, None])
    assert_type(ticks, Task[[int], AsyncGenerator[int, None]])
    assert_type(ticks(3), AsyncGenerator[int, None])
    assert_type(list(losses(3)), list[float])
    assert_type([tick async for tick in ticks(3)], list[int])


# --- Tasks, with options ---


@task(name="halve", retries=2, retry_delay_seconds=exponential_backoff(2), tags=["a"], track=False)
def half(x: int, /) -> float:
    return x / 2


@task(track=Track(inputs=["x"], outputs=False, run="parent", tags={"team": "risk"}))
async def fetch_all(x: list[str], /) -> list[bytes]:
    return [url.encode() for url in x]


@task()
def empty(x: int, /) -> int:
    return x


async def task_options() -> None:
    assert_type(half, Task[[int], float])
    assert_type(half(1), float)
    assert_type(half.submit(1), PrefectFuture[float])
    assert_type(await fetch_all([]), list[bytes])
    assert_type(empty, Task[[int], int])
    assert_type(half.with_options(name="other", retries=5), Task[[int], float])
    assert_type(half.with_options(track=Track(outputs=False)), Task[[int], float])
    assert_type(half.with_options(track=False)(1), float)

    task(retrys=2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    task(retries="2")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    task(track="yes")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    half.with_options(retrys=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    half.with_options(track="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# --- Flows ---


@flow
def report(x: int, /) -> str:
    return str(x)


@flow
async def crawl(x: int, /) -> str:
    return str(x)


@flow
def batches(n: int, /) -> Generator[int, None, None]:
    yield n


@flow
async def stream(n: int, /) -> AsyncGenerator[int, None]:
    yield n


@flow(name="nightly", log_prints=True, task_runner=ThreadPoolTaskRunner(max_workers=2), track=Track(experiment="e"))
def nightly(x: int, /) -> str:
    return str(x)


@flow(retries=1, track=False)
async def hourly(x: int, /) -> str:
    return str(x)


async def flows() -> None:
    assert_type(report, Flow[[int], str])
    assert_type(report(1), str)
    assert_type(report(1, return_state=True), State[str])
    assert_type(report.fn(1), str)
    assert_type(await crawl(1), str)
    assert_type(batches(1), Generator[int, None, None])
    assert_type(stream(1), AsyncGenerator[int, None])
    assert_type(nightly, Flow[[int], str])
    assert_type(nightly(1), str)
    assert_type(await hourly(1), str)
    assert_type(nightly.with_options(name="other", retries=1), Flow[[int], str])
    assert_type(nightly.with_options(track=False)(1), str)

    report("1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    flow(retrys=2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    flow(cache_policy=None)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    flow(track=1.0)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    nightly.with_options(retrys=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


# --- Methods: as with Prefect, the type is that of the unbound function ---


class Trainer:
    @task
    def fit(self, x: int, /) -> float:
        return float(x)

    @task(retries=1, track=False)
    @staticmethod
    def split(x: int, /) -> tuple[int, int]:
        return x, x

    @flow
    def run(self, x: int, /) -> float:
        return float(x)


def methods(trainer: Trainer) -> None:
    assert_type(trainer.fit, Task[[Trainer, int], float])
    assert_type(trainer.run, Flow[[Trainer, int], float])
    assert_type(trainer.split(1), tuple[int, int])


# --- Assets ---


@materialize("s3://bucket/table", by="dbt", name="table", track=Track(outputs=False))
def table(x: int, /) -> int:
    return x


@materialize("s3://bucket/other")
async def other(x: int, /) -> int:
    return x


async def assets() -> None:
    is_materializing: MaterializingTask[[int], int] = table
    is_materializing(1)
    assert_type(table(1), int)
    assert_type(table.submit(1), PrefectFuture[int])
    assert_type(await other(1), int)
    assert_type(table.with_options(name="other")(1), int)

    materialize("s3://bucket/table", retrys=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    materialize("s3://bucket/table", track="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# --- A drop-in: what asks for Prefect's own takes flowml's ---


def takes_prefect(a_task: prefect.Task[[int], int], a_flow: prefect.Flow[[int], str]) -> None:
    a_task(1)
    a_flow(1)


takes_prefect(double, report)


# --- Saying what is logged ---


@task
def annotated(
    rows: Annotated[int, Param("n_rows", prefix=False)],
    secret: Annotated[str, Skip()],
    table: Annotated[list[int], Dataset("train", save=True)],
) -> tuple[Annotated[float, Metric("auc")], Annotated[str, Artifact("report.md")], Annotated[object, Model("clf")]]:
    return float(rows), secret, table


def options() -> None:
    assert_type(annotated(1, "s", []), tuple[float, str, object])
    flowml.log(accuracy=0.9, report="fine")
    flowml.log_params({"lr": 0.1}, depth=3)
    flowml.log_params(learning_rate=0.1)
    flowml.log_metrics({"loss": 0.5}, step=1)
    flowml.log_metrics(loss=0.5)
    with flowml.disabled():
        double(1)

    flowml.log_params("lr")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    flowml.log_metrics({"loss": 0.5}, step="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Param(prefix="no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Track(inputz=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Track(run="mine")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Track(True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Track(on_error="ignore")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Model("clf", alias=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# --- Searching ---


def search() -> None:
    study = flowml.tune(scale, x=flowml.Float(0, 1), by=flowml.Choice(1.0, 2.0), maximize="score", trials=3)
    assert_type(study, flowml.Study)
    assert_type(study.best.value, float)
    assert_type(study.counts(), dict[str, int])
    flowml.tune(scale, x=flowml.Int(0, 1, step=1), maximize=["score"], minimize=["seconds"], timeout=1.5)
    flowml.report(1, 0.5)

    flowml.tune(scale, trials="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    flowml.Float("0", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    flowml.Choice([1], [2])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    flowml.report("1", 0.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
