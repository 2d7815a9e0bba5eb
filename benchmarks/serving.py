"""What serving costs: `flowml serve-model` against `mlflow models serve` of the same version, side by side.

Each is asked by one connection after the other in turns: requests a second, and the median and 99th percentile of how
long an answer takes; and how long it takes from the start to the first answer. Processor time is that of the server's
processes.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
from sklearn.datasets import load_breast_cancer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WARM = 50  # requests before those that are measured
ROOT = Path(__file__).parents[1]
_MAKE = """
import mlflow, pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from flowml.store.backend.connection import connect
connect()
data = load_breast_cancer(as_frame=True).data
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data, load_breast_cancer().target)
mlflow.sklearn.log_model(model, name="clf", input_example=data.head(2), serialization_format="skops",
                         pip_requirements=["mlflow", "scikit-learn", "skops"], registered_model_name="churn")
mlflow.MlflowClient().set_registered_model_alias("churn", "champion", 1)
print(mlflow.get_tracking_uri())
"""


def main() -> None:
    """Measure, and print the medians of all rounds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--requests", type=int, default=500)
    options.add_argument("--json", action="store_true")
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pyproject.toml").touch()
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "MLFLOW_DISABLE_TELEMETRY": "true"}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"  # MLflow calls uvicorn
        made = subprocess.run(
            [sys.executable, "-c", _MAKE], cwd=folder, env=environment, check=True, capture_output=True, text=True
        )
        environment["MLFLOW_TRACKING_URI"] = made.stdout.strip().splitlines()[-1]
        servers = {
            "mlflow": ["mlflow", "models", "serve", "-m", "models:/churn@champion", "--env-manager", "local"],
            "flowml": ["flowml", "serve-model", "churn@champion"],
        }
        found: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
        for _ in range(wanted.rounds):
            for name, command in servers.items():
                found[name].append(measure([sys.executable, "-m", *command], folder, environment, wanted.requests))
    medians = {
        name: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        for name, rounds in found.items()
    }
    ratios = {key: medians["flowml"][key] / value for key, value in medians["mlflow"].items()}
    if wanted.json:
        print(json.dumps({**medians, "ratio": ratios, "load": os.getloadavg()[0]}))
        return
    print(f"{'':24}{'mlflow':>10}{'flowml':>10}{'ratio':>8}")
    for key, ratio in ratios.items():
        print(f"{key:24}{medians['mlflow'][key]:10.4f}{medians['flowml'][key]:10.4f}{ratio:8.2f}")


def measure(command: list[str], folder: str, environment: dict[str, str], count: int) -> dict[str, float]:
    """Start a server, ask it so often, and end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    row = load_breast_cancer(as_frame=True).data.head(1)
    body = json.dumps({"dataframe_split": row.to_dict(orient="split")})
    began = time.perf_counter()
    with (
        running([*command, "--port", str(port)], folder, environment) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):

        def ask() -> httpx.Response:
            return client.post("/invocations", content=body, headers={"content-type": "application/json"})

        until_answered(ask, process).raise_for_status()
        start = time.perf_counter() - began
        for _ in range(_WARM):
            ask()
        used, took, begun = processor(process), list[float](), time.perf_counter()
        for _ in range(count):
            at = time.perf_counter()
            ask()
            took.append(time.perf_counter() - at)
        whole, spent = time.perf_counter() - begun, processor(process) - used
    took.sort()
    return {
        "first answer, s": start,
        "requests a second": count / whole,
        "median, ms": statistics.median(took) * 1000,
        "99th percentile, ms": took[int(len(took) * 0.99)] * 1000,
        "processor, ms a request": spent / count * 1000,
    }


def until_answered(ask: Callable[[], httpx.Response], process: subprocess.Popen[bytes]) -> httpx.Response:
    """Ask until there is an answer."""
    while process.poll() is None:
        with suppress(httpx.TransportError):
            return ask()
        time.sleep(0.02)
    msg = "the server has ended"
    raise RuntimeError(msg)


def processor(process: subprocess.Popen[bytes]) -> float:
    """Return the processor time of a process and all below it, in seconds."""
    leader = psutil.Process(process.pid)
    return sum(sum(one.cpu_times()[:2]) for one in [leader, *leader.children(recursive=True)])


@contextmanager
def running(command: list[str], folder: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, and end it and all that it started."""
    with (Path(folder) / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield process
    except RuntimeError:
        print((Path(folder) / "server.log").read_text(errors="replace"), file=sys.stderr)
        raise
    finally:
        family = list[psutil.Process]()
        with suppress(psutil.Error):
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in family:
            with suppress(psutil.Error):
                one.terminate()
        psutil.wait_procs(family, timeout=20)


if __name__ == "__main__":
    main()
