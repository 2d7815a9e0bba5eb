"""The benchmarks run at a small size, and find in MLflow what each contestant should have left there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def ran(script: str, *arguments: str) -> Any:
    """Run a benchmark and return what it told in JSON."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *arguments, "--rounds", "1", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_sequence_counts_the_runs_of_each_contestant() -> None:
    """Of three tasks and two to warm up, each that tracks left five complete runs; bare Prefect has none to count."""
    told = ran("sequence.py", "--tasks", "3")
    assert told["counted"] == {"fluent MLflow by hand": 5, "MlflowClient by hand": 5, "flowml": 5}
    assert [row["contestant"] for row in told["rows"]] == ["Prefect", *told["counted"]]
    assert all(row["ms in a call"] > 0 for row in told["rows"])


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "command",
    [
        "sequence.py --tasks 3 --store http --workers 1",
        "fanout.py --tasks 6 --threads 3",
        "growth.py --sizes 2 4",
        "models.py --models 2",
        "first_models.py",
        "training.py",
        "tracing.py --tasks 5",
        "lineage.py --tasks 5 --rounds 2",
        "tune.py --tasks 16 --parallel 4",
        "system_metrics.py --body 1",
    ],
)
def test_each_benchmark_runs_and_counts_right(command: str) -> None:
    """A benchmark ends well only when it found in MLflow all that it should have; it measures something of each."""
    told = ran(*command.split())
    assert told["counted"]
    assert all(value > 0 for row in told["rows"] for value in row.values() if isinstance(value, int | float))
    assert all(goal["ratio"] > 0 for goal in told["goals"])


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_the_start_is_measured() -> None:
    """Whole processes and the imports alone are measured, and compared with Prefect's."""
    told = ran("start.py")
    assert all(row["ms"] > 0 for row in told["rows"])
    assert len(told["goals"]) == 3


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_serving_is_measured_against_mlflow() -> None:
    """Both servers of the same version answer each request."""
    told = ran("serving.py", "--requests", "5")
    assert told["mlflow"].keys() == told["flowml"].keys() == told["ratio"].keys()
    assert all(value > 0 for value in told["flowml"].values())
