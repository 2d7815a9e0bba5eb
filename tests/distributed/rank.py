"""A training script as users write it: each process of a training runs it, and MLflow's plain calls are all it knows.

``python -m tests.distributed.rank FOLDER`` is a rank as its environment says; `train` is one in a process of Python's.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import mlflow

import flowml

STEPS = 3


def train(folder: Path, told: Mapping[str, str] | None = None, rank: int | None = None) -> None:
    """Train; what a file in the folder says of the rank, it does on its way."""
    number = int(os.environ.get("RANK", "0")) if rank is None else rank
    wait_for(folder / f"after_{number}")
    with flowml.distributed(told, rank=rank), mlflow.start_run(run_name="by a script") as run:
        mlflow.log_param("rank", number)
        mlflow.set_tag("trained_by", number)
        for step in range(STEPS):
            mlflow.log_metric("loss", 1 / (step + 1) + number, step=step)
        mlflow.log_text(f"weights of {number}", "checkpoint.txt")
        (folder / f"run_{number}").write_text(run.info.run_id)
        if (folder / f"kill_{number}").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if (folder / f"fail_{number}").exists():
            msg = f"rank {number} has no data"
            raise ValueError(msg)


def wait_for(file: Path) -> None:
    """Wait for the file that another rank writes, if this one is told to wait."""
    if file.exists():
        awaited = file.parent / file.read_text()
        end = time.monotonic() + 60
        while not awaited.exists() and time.monotonic() < end:
            time.sleep(0.05)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
