"""DAGs whose tasks run flows, one for each way in which they end. The same file for Airflow 2.11 and 3."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

from flowml_airflow import FlowmlOperator

PYTHON = os.environ["FLOWML_TEST_PYTHON"]
ENV = json.loads(os.environ["FLOWML_TEST_ENV"])
MARKERS = os.environ["FLOWML_TEST_MARKERS"]
RUNS = {"python": PYTHON, "env": ENV}
FLOWS = "flows/work.py"
NEVER = {"schedule": None, "start_date": datetime(2026, 1, 1), "catchup": False}


@dag(**NEVER)
def succeeding():
    @task
    def load() -> int:
        return 90

    @task
    def folds() -> list[dict[str, int]]:
        return [{"rows": 10, "fold": 1}, {"rows": 20, "fold": 2}]

    @task.flowml(flow=f"{FLOWS}:training", **RUNS)
    def decorated(rows: int) -> dict[str, int]:
        return {"rows": rows + 1}

    @task
    def report(train: dict[str, float], mapped: list[dict[str, float]]) -> float:
        from flowml_airflow import parent_run

        best = max(each["accuracy"] for each in (train, *mapped))
        parent_run(python=PYTHON, env=ENV).log(params={"folds": len(list(mapped))}, metrics={"best": best})
        return best

    rows = load()
    train = FlowmlOperator(
        task_id="train",
        flow=f"{FLOWS}:training",
        parameters={"rows": "{{ ti.xcom_pull(task_ids='load') }}"},
        **RUNS,
    )
    mapped = FlowmlOperator.partial(task_id="mapped", flow=f"{FLOWS}:training", **RUNS).expand(parameters=folds())
    rows >> train
    again = decorated(rows)
    last = report(train.output, mapped.output)
    again >> last


@dag(**NEVER)
def failing():
    FlowmlOperator(task_id="fail", flow=f"{FLOWS}:failing", **RUNS)


@dag(**NEVER)
def retried():
    FlowmlOperator(
        task_id="mend",
        flow=f"{FLOWS}:mended",
        parameters={"marker": MARKERS + "/{{ run_id | replace(':', '') }}"},
        retries=1,
        retry_delay=timedelta(seconds=1),
        **RUNS,
    )


@dag(**NEVER)
def timed_out():
    FlowmlOperator(
        task_id="endless",
        flow=f"{FLOWS}:endless",
        parameters={"marker": f"{MARKERS}/timed_out"},
        execution_timeout=timedelta(seconds=45),
        **RUNS,
    )


@dag(**NEVER)
def killed():
    FlowmlOperator(
        task_id="endless", flow=f"{FLOWS}:endless", parameters={"marker": f"{MARKERS}/killed"}, retries=0, **RUNS
    )


@dag(**NEVER)
def stubborn():
    FlowmlOperator(
        task_id="stubborn",
        flow=f"{FLOWS}:stubborn",
        parameters={"marker": f"{MARKERS}/stubborn"},
        execution_timeout=timedelta(seconds=40),
        grace=2,
        **RUNS,
    )


@dag(**NEVER)
def wrong():
    FlowmlOperator(task_id="no_flow", flow=f"{FLOWS}:trainin", retries=3, **RUNS)
    FlowmlOperator(task_id="no_python", flow=f"{FLOWS}:training", python="/nowhere/python", env=ENV, retries=3)
    FlowmlOperator(task_id="no_json", flow=f"{FLOWS}:no_json", **RUNS)


succeeding()
failing()
retried()
timed_out()
killed()
stubborn()
wrong()
