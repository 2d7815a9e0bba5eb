"""The program that is killed: it logs numbers, and writes down each that it has logged.

A line of its list, `LOGGED_LIST`, is on the disk as soon as the call that logged has returned; what is not on the list
may have been logged or not. It counts up to the number that it is given, and so ends by itself if nobody kills it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

from prefect import runtime
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner
from sklearn.linear_model import LinearRegression

import flowml
from flowml import Artifact, Model, flow, task

_LIST = os.open(os.environ["LOGGED_LIST"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def note(**what: Any) -> None:
    """Write down what was logged, so that a kill cannot take it back."""
    os.write(_LIST, (json.dumps(what) + "\n").encode())
    os.fsync(_LIST)


@task(task_run_name="count-{number}", cache_policy=NO_CACHE)
def count(number: int) -> None:
    """Log parameters, metrics and a text, one after the other; its state is logged when it is over."""
    me = {"run": f"count-{number}"}
    note(**me, what="param", key="number", value=str(number))
    for step in range(3):
        flowml.log_metrics({"count": number + step / 10}, step=step)
        note(**me, what="metric", key="count", step=step, value=number + step / 10)
    flowml.log_params(twice=number * 2)
    note(**me, what="param", key="twice", value=str(number * 2))
    path = Path(f"{runtime.task_run.name}-{os.environ['FAULTS_CASE']}.txt")  # others may work in the same folder
    path.write_text(f"{number} " * 50)
    flowml.log(number_file=path)
    note(**me, what="file", path=path.name, size=path.stat().st_size)
    path.unlink()


@task(task_run_name="fit-{number}", cache_policy=NO_CACHE)
def fit(
    number: int,
) -> Annotated[LinearRegression, Model(register=f"{os.environ['FAULTS_CASE']}-line", alias="champion")]:
    """Make a model, of which all is logged when the task has returned it; the last one is the champion."""
    return LinearRegression(tol=number + 1e-6).fit([[0.0], [1.0]], [0.0, float(number)])


@task(task_run_name="report-{number}", cache_policy=NO_CACHE)
def report(number: int) -> Annotated[dict[str, Any], Artifact("report.json")]:
    """Make a file."""
    return {"number": number}


@flow(name="counting", flow_run_name="counting", task_runner=ThreadPoolTaskRunner(max_workers=2))
def counting(many: int) -> None:
    """Count."""
    note(run="counting", what="param", key="many", value=str(many))
    for number in range(0, many, 2):
        count.map([number, number + 1]).wait()
        for counted in (number, number + 1):
            note(run=f"count-{counted}", what="tag", key="prefect.state", value="Completed")
        report(number)
        note(run=f"report-{number}", what="file", path="report.json", size=None)
        if number % 4 == 0:
            fit(number)
            note(run=f"fit-{number}", what="model")


if __name__ == "__main__":
    counting(int(sys.argv[1]))
    print('SEEN "done"', flush=True)  # noqa: T201 - read by the tests
