"""A program whose tasks import for the first time while flowml sends, and each search for a module takes a while.

Each round is a fork of its own. A round that hangs says where and fails; so does one in which a thread of flowml looks
for a module. ``importing.py 200`` runs so many rounds,
``importing.py 50 100`` those from the hundredth on.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Annotated, Any

import mlflow

from flowml import Model, flow, task
from flowml import flush as everything_is_sent

OTHERS = ("polars", "plotly.graph_objects", "altair", "statsmodels.api", "bokeh.plotting", "scipy.stats", "PIL.Image")
SLOWEST = 0.02  # seconds that a search for a module takes longer
PATIENCE = 300.0  # seconds for a round, which takes some ten on a quiet machine

searches_of_flowml: list[str] = []
mine = threading.Lock()  # of two threads of the user's that import modules which need each other, Python fails one


class SlowDisk:
    """Finds nothing, after a random while; notes what threads of flowml look for."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> None:
        """Take a while."""
        if threading.current_thread().name.startswith("flowml"):
            searches_of_flowml.append(name)
        if self._random.random() < 0.3:
            time.sleep(self._random.random() * SLOWEST)


def table() -> Any:
    """Make a table of four columns."""
    import pandas as pd

    return pd.DataFrame({"a": [0.0, 1, 2, 3] * 5, "y": [0, 1, 0, 1] * 5})


@task(cache_policy=None)
def fit(c: float) -> Annotated[Any, Model("clf", register="churn")]:
    """Fit and register a classifier of scikit-learn."""
    with mine:
        from sklearn.linear_model import LogisticRegression
    return LogisticRegression(C=c).fit(table()[["a"]], table()["y"])


@task(cache_policy=None)
def boost() -> Any:
    """Fit one of XGBoost."""
    with mine:
        import xgboost
    return xgboost.XGBClassifier(n_estimators=1).fit(table()[["a"]], table()["y"])


@task(cache_policy=None)
def evaluate() -> float:
    """Evaluate predictions, by MLflow."""
    frame = table()
    data, columns = frame.assign(p=frame["y"]), {"targets": "y", "predictions": "p"}
    with mine:
        found = mlflow.models.evaluate(data=data, **columns, model_type="classifier")
    return float(found.metrics["accuracy_score"])


@task(cache_policy=None)
def log_fits() -> None:
    """Have a fit logged by MLflow."""
    with mine:
        mlflow.autolog(log_models=False, silent=True)
        from sklearn.ensemble import RandomForestClassifier
    RandomForestClassifier(2).fit(table()[["a"]], table()["y"])


@task(cache_policy=None)
def load(module: str) -> str:
    """Import a module."""
    with mine:
        return importlib.import_module(module).__name__


def one_round(seed: int) -> None:
    """Run the flow in an order of its own."""
    store = Path(tempfile.mkdtemp()) / "mlflow.db"
    store.write_bytes(Path(os.environ["EMPTY_STORE"]).read_bytes())
    mlflow.set_tracking_uri(f"sqlite:///{store}")
    order = random.Random(seed)
    steps = [lambda c=c: fit.submit(float(c)) for c in (1, 2)]
    steps += [boost.submit, evaluate.submit, log_fits.submit]
    steps += [lambda name=name: load.submit(name) for name in order.sample(OTHERS, 2)]
    order.shuffle(steps)

    @flow
    def importing() -> int:
        return len([future.result() for future in [step() for step in steps]])

    importing()
    everything_is_sent()


def in_a_fork(seed: int) -> bool:
    """Run a round in a process of its own."""
    child = os.fork()
    if child == 0:
        ended_well = False
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        sys.meta_path.insert(0, SlowDisk(seed))  # type: ignore[arg-type]
        try:
            one_round(seed)
            ended_well = not searches_of_flowml
        except BaseException:  # noqa: BLE001 - the round has failed, whatever it was
            traceback.print_exc()
        if searches_of_flowml:
            sys.stderr.write(f"threads of flowml looked for {searches_of_flowml}\n")
            sys.stderr.flush()
        os._exit(not ended_well)
    return os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    failed = [seed for seed in range(first, first + int(sys.argv[1])) if not in_a_fork(seed)]
    sys.stdout.write(f"{sys.argv[1]} rounds, failed: {failed}\n")
    sys.exit(bool(failed))
