"""The DAG of docs/moving/airflow.md: as it was, and after each of its steps."""

from __future__ import annotations

import json
import os
from datetime import datetime

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

from flowml_airflow import FlowmlOperator

RUNS = {"python": os.environ["FLOWML_TEST_PYTHON"], "env": json.loads(os.environ["FLOWML_TEST_ENV"])}
NEVER = {"schedule": None, "start_date": datetime(2026, 1, 1), "catchup": False}


@task
def load() -> list[float]:
    return [0.25, 0.5, 0.75]


@task
def fit(values: list[float]) -> dict[str, float]:
    return {"mean": sum(values) / len(values), "largest": max(values)}


@task
def report(fitted: dict[str, float]) -> str:
    return f"mean {fitted['mean']}"


@dag(**NEVER)
def moving_0():
    report(fit(load()))


@dag(**NEVER)
def moving_1():
    fitted = FlowmlOperator(
        task_id="fit", flow="flows/nightly.py:fitting", parameters={"values": load()}, **RUNS
    ).output
    report(fitted)


@dag(**NEVER)
def moving_2():
    FlowmlOperator(task_id="nightly", flow="flows/nightly.py:nightly", **RUNS)


moving_0()
moving_1()
moving_2()
