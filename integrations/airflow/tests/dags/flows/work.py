"""Flows that Airflow's tasks run: one for each way in which a task can end."""

from __future__ import annotations

import time
from pathlib import Path

from flowml import flow, log_metrics, task


@task
def fit(rows: int) -> float:
    return rows / 100


@flow
def training(rows: int, fold: int = 0) -> dict[str, float]:
    accuracy = fit(rows)
    log_metrics(accuracy=accuracy)
    print(f"trained on {rows} rows")
    return {"accuracy": accuracy, "fold": fold}


@flow
def failing() -> None:
    raise ValueError("the data is empty")


@flow
def mended(marker: str) -> str:
    """Fails once."""
    if Path(marker).exists():
        return "mended"
    Path(marker).touch()
    raise ValueError("not yet")


@task
def step(number: int) -> int:
    time.sleep(0.2)
    return number


@flow
def endless(marker: str) -> None:
    for number in range(3000):
        step(number)
        Path(marker).touch()


@flow
def stubborn(marker: str) -> None:
    """Does not stop when it is told to."""
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(marker).touch()
    end = time.monotonic() + 600
    while time.monotonic() < end:
        time.sleep(1)


@flow
def no_json() -> object:
    return {1, 2}
