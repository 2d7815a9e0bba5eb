"""The functions that Spark's executors run log to the run of the task that starts them.

PySpark is not among the tests' packages, for its size: ``pip install pyspark`` beside them, and with a JVM these run.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

import flowml
from flowml import Track, flow, task
from tests.runs import all_runs, run_of

pytest.importorskip("pyspark", reason="PySpark is not installed: pip install pyspark")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not shutil.which("java"), reason="Spark needs a JVM, and there is none"),
]

ROOT = Path(__file__).parents[2]


@task(track=Track(system_metrics=True))
def fit(ranks: int, rounds: int) -> list[int]:
    """Train by the executors of a local Spark, all ranks at a time, one round after the other."""
    from pyspark import BarrierTaskContext
    from pyspark.sql import SparkSession

    told = flowml.child_environment()

    def work(rows: Iterable[int]) -> Iterator[int]:
        place = BarrierTaskContext.get()
        place.barrier()
        with flowml.distributed(told, rank=place.partitionId()), mlflow.start_run():
            for step in range(3):
                mlflow.log_metric("loss", 1 / (step + 1), step=step)
        yield sum(rows)

    spark = (
        SparkSession.builder.master(f"local[{ranks}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.executorEnv.PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "src")]))
        .getOrCreate()
    )
    try:
        rows = spark.sparkContext.parallelize(range(10), ranks)
        return [sum(rows.barrier().mapPartitions(work).collect()) for _ in range(rounds)]
    finally:
        spark.stop()


@flow
def training(ranks: int, rounds: int) -> list[int]:
    """Train."""
    return fit(ranks, rounds)


def test_spark_trains_two_ranks_in_one_run(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first of two executors logs is in the task's run, however often they are started; both have ended."""
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    assert training(ranks=2, rounds=5) == [sum(range(10))] * 5
    run = run_of(client, "fit")
    assert len(all_runs(client)) == len([training, fit])
    assert [each.value for each in client.get_metric_history(run.info.run_id, "loss")] == [1, 1 / 2, 1 / 3] * 5
    assert {key for key in run.data.tags if key.startswith("flowml.rank")} == {"flowml.rank.0", "flowml.rank.1"}
    assert "system/node_0/peak_memory_megabytes" in run.data.metrics
