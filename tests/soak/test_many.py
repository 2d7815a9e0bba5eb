"""Flows of thousands of mapped tasks: every run right, and no more memory than they need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL

from tests.runs import all_runs, parent_of
from tests.soak.many import MAPPED, RARE, measure

MANY = 2000
MORE = 200  # megabytes that tracking may add to what bare Prefect takes
ON_DASK = int(os.environ.get("FLOWML_TEST_TASKS", "10000"))
MORE_ON_DASK = 100  # megabytes: the tasks are in other processes
FEW = 100  # runs that wait in the flow's process at a time
ROOT = Path(__file__).parents[2]


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read as Linux tells it")
def test_2000_mapped_tasks(client: MlflowClient, project: Path, record_property: pytest.RecordProperty) -> None:
    """A flow of 2,000 mapped tasks ends with 2,000 right children, and takes at most 200 MB more than Prefect alone."""
    bare, tracked = run("prefect", MANY, "threads", project), run("flowml", MANY, "threads", project)
    record_property("figures", json.dumps({"prefect": bare, "flowml": tracked}))
    print(f"\nprefect {bare}\nflowml  {tracked}")  # noqa: T201 - what was measured, with -s
    runs = all_runs(client)
    (root,) = [run for run in runs if run.data.params.get("many") and not parent_of(run)][1:]
    children = [run for run in runs if parent_of(run) == root.info.run_id]
    assert [root.info.status, *{run.info.status for run in children}] == ["FINISHED", "FINISHED"]
    found = {int(run.data.params["number"]): (run.data.params, run.data.metrics) for run in children}
    expected = {
        number: ({"number": str(number), "name": f"name-{number}"}, measure(number, f"name-{number}"))
        for number in range(MANY)
    }
    assert len(children) == MANY
    assert found == expected
    assert root.data.metrics[f"{MAPPED}.square.max"] == (MANY - 1) ** 2
    assert tracked["growth"] - bare["growth"] <= MORE


@pytest.mark.soak
@pytest.mark.timeout(6000)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read as Linux tells it")
def test_many_tasks_on_dask(client: MlflowClient, project: Path, record_property: pytest.RecordProperty) -> None:
    """Of 10,000 tasks on Dask those that failed have runs, the others are counted, and little waits in the flow."""
    bare, tracked = run("prefect", ON_DASK, "dask", project), run("flowml", ON_DASK, "dask", project)
    record_property("figures", json.dumps({"prefect": bare, "flowml": tracked}))
    print(f"\nprefect {bare}\nflowml  {tracked}")  # noqa: T201 - what was measured, with -s
    root = max((run for run in all_runs(client) if not parent_of(run)), key=lambda run: run.info.start_time)
    failed = [int(run.data.params["number"]) for run in all_runs(client) if parent_of(run) == root.info.run_id]
    assert sorted(failed) == list(range(RARE, ON_DASK, 1000))
    assert root.data.metrics[f"{MAPPED}.square.max"] == (ON_DASK - 1) ** 2
    assert root.data.metrics[f"{MAPPED}.count"] == ON_DASK - len(failed)
    assert tracked["growth"] - bare["growth"] <= MORE_ON_DASK
    assert tracked["waiting"] <= FEW


def run(decorators: str, many: int, where: str, project: Path) -> dict[str, float]:
    """Run the flow in a process of its own; what it took."""
    environment = os.environ | {
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
    }
    command = [sys.executable, "-m", "tests.soak.many", decorators, str(many), where]
    done = subprocess.run(command, env=environment, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "flowml:" not in done.stderr, done.stderr
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures
