"""What tracking costs: tasks that only Prefect runs, that a hand-written tracker logs, and that flowml logs.

python benchmarks/overhead.py [--tasks 50] [--rounds 5] [--body 0.0]

All run in this process on this machine, in turn, round by round; the figures are medians over the rounds. Each has its
own store or experiment, prepared beforehand. A task's time is measured inside the flow's body, because Prefect's
heartbeat makes every synchronous flow last a whole number of seconds; "until all is in MLflow" is until the flow's call
returns with everything sent, less what bare Prefect takes outside its body. Then the runs in MLflow are counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}

import mlflow
import prefect
from rich.console import Console
from rich.table import Table

import flowml
from flowml.store.connection import connect

Numbers = dict[str, float]


def work(a: int, b: int, c: float, d: str, e: bool) -> Numbers:  # noqa: FBT001 - five parameters of five types
    """Do what a task does: five parameters in, three metrics out."""
    if BODY:
        time.sleep(BODY)
    return {"sum": a + b + c, "length": float(len(d)), "flag": float(e)}


def by_hand(a: int, b: int, c: float, d: str, e: bool) -> Numbers:  # noqa: FBT001
    """Do the same, with the tracker calls that people write today."""
    with mlflow.start_run(nested=True):
        mlflow.log_params({"a": a, "b": b, "c": c, "d": d, "e": e})
        found = work(a, b, c, d, e)
        mlflow.log_metrics(found)
    return found


def contestant(flow: Callable[..., Any], task: Callable[..., Any], fn: Callable[..., Any]) -> Callable[[int], float]:
    """Make a flow of many calls of one task; it returns the seconds that they took."""
    step = task(fn, name="step", cache_policy=prefect.cache_policies.NO_CACHE)

    @flow(name="sequence")
    def sequence(tasks: int) -> float:
        began = time.perf_counter()
        for number in range(tasks):
            step(number, 1, 0.5, "text", e=True)
        return time.perf_counter() - began

    return sequence


def hand_written(tasks: int) -> float:
    """Run the hand-written contestant under the run that people open for the flow."""
    with mlflow.start_run(run_name="sequence"):
        return HAND(tasks)


def measure(tasks: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Return milliseconds a task by contestant: inside the tasks' calls, and until everything is in MLflow."""
    contestants = {"Prefect": BARE, "Prefect + hand-written MLflow": hand_written, "flowml": TRACKED}
    for run in contestants.values():
        run(2)  # first imports and connections are nobody's cost
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        outside = 0.0
        for name, run in contestants.items():
            began = time.perf_counter()
            inside = run(tasks)
            whole = time.perf_counter() - began
            outside = whole - inside if name == "Prefect" else outside
            taken[name].append((inside, max(whole - outside, inside)))
    each = 1000 / tasks
    return {
        name: (statistics.median(i for i, _ in times) * each, statistics.median(w for _, w in times) * each)
        for name, times in taken.items()
    }


def count(tasks: int, rounds: int) -> dict[str, int]:
    """Count the finished runs with all their params and metrics, so that nobody wins by not writing."""
    client = connect().client
    found = {}
    for name in ("sequence", "by hand"):
        experiment = client.get_experiment_by_name(name)
        runs = client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=50_000)
        found[name] = sum((len(run.data.params), len(run.data.metrics)) == LOGGED for run in runs)
    expected = tasks * rounds + 2
    if set(found.values()) != {expected}:
        msg = f"each contestant should have left {expected} complete runs, not {found}"
        raise SystemExit(msg)
    return found


LOGGED = (5, 3)  # params and metrics of each task
BODY = 0.0
BARE = contestant(prefect.flow, prefect.task, work)
HAND = contestant(prefect.flow, prefect.task, by_hand)
TRACKED = contestant(flowml.flow, flowml.task, work)


def main(tasks: int, rounds: int, body: float) -> None:
    """Measure and print."""
    global BODY  # noqa: PLW0603 - what the tasks of all contestants do
    BODY = body
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FLOWML_HOME"] = folder
        connect()
        with mlflow.start_run(experiment_id=mlflow.create_experiment("by hand", Path(folder).as_uri())):
            pass
        os.environ["FLOWML_EXPERIMENT"] = "sequence"
        mlflow.set_experiment("by hand")
        found = measure(tasks, rounds)
        counted = count(tasks, rounds)
    bare, hand = found["Prefect"][0], found["Prefect + hand-written MLflow"][1]
    table = Table(title=f"{tasks} tasks, {rounds} rounds, body of {body:g} s, embedded SQLite", title_justify="left")
    for column in ("", "ms a task", "of bare Prefect", "ms until all is in MLflow", "of hand-written"):
        table.add_column(column, justify="right" if column else "left")
    for name, (inside, whole) in found.items():
        table.add_row(name, f"{inside:.1f}", f"{inside / bare:.2f}", f"{whole:.1f}", f"{whole / hand:.2f}")
    Console().print(table, f"complete runs counted in MLflow: {counted}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--body", type=float, default=0.0)
    given = parser.parse_args()
    main(given.tasks, given.rounds, given.body)
