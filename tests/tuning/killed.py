"""A program with a search in it, to be killed: ``killed.py trials parallel seconds name [storage]``."""

import sys
import time
from pathlib import Path

import optuna

import flowml
from flowml import Float, Int, task


@task
def fit(x: float, y: int, seconds: float) -> dict[str, float]:
    """Take some time, and as long as there is a file with the name ``hold``."""
    time.sleep(seconds)
    while Path("hold").exists():
        time.sleep(0.02)
    return {"loss": (x - 0.3) ** 2 + y}


if __name__ == "__main__":
    trials, parallel, seconds, name, *more = sys.argv[1:]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    flowml.tune(
        fit,
        seconds=float(seconds),
        x=Float(0, 1),
        y=Int(0, 3),
        minimize="loss",
        trials=int(trials),
        parallel=int(parallel),
        name=name,
        sampler=optuna.samplers.RandomSampler(),
        storage=more[0] if more else None,
    )
