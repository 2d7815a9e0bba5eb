"""``Track(children=...)`` for tasks that run in worker processes."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from prefect.futures import PrefectFuture
from prefect.task_runners import ProcessPoolTaskRunner
from tests.runs import all_runs, flow_run, parent_of, run_of, runs_of

from flowml import Track, flow, task

pytestmark = pytest.mark.slow

POOL = ProcessPoolTaskRunner(max_workers=2)
RUNNERS: list[ProcessPoolTaskRunner] = []
FUTURES: list[PrefectFuture[Any]] = []


@task
def score(number: int, note: str) -> float:
    """Give the number back; one is unlucky."""
    if number == 13:
        raise ValueError("unlucky")
    return float(number)


@task
def logs_itself() -> None:
    """Log by plain MLflow."""
    mlflow.log_param("by", "hand")


@task
def inner(number: int) -> int:
    """Be called by a task."""
    return number * 2


@task
def outer(number: int) -> int:
    """Call a task."""
    return inner(number)


def table_of(client: MlflowClient, name: str) -> list[dict[str, Any]]:
    """Read the table of a task's children on the flow's run."""
    path = client.download_artifacts(flow_run(client).info.run_id, f"children/{name}.csv")
    return list(csv.DictReader(Path(path).read_text().splitlines()))


def test_failures_keep_their_runs(client: MlflowClient) -> None:
    """Of tasks in a process pool, failures and those that log by hand have runs; the flow sums up all others."""

    @flow(track=Track(children="failed"), task_runner=POOL)
    def fan_out() -> None:
        long = "x" * 5000  # two of these do not fit into one tag
        futures = [score.submit(number, long if number < 4 else "short") for number in range(1, 61)]
        futures += [logs_itself.submit(), outer.submit(7)]
        for future in futures:
            future.wait()

    fan_out()
    root = flow_run(client)
    (failed,) = runs_of(client, "score")
    assert (failed.info.status, failed.data.params["number"], parent_of(failed)) == ("FAILED", "13", root.info.run_id)
    assert run_of(client, "logs_itself").data.params == {"by": "hand"}
    assert len(all_runs(client)) == 3
    rows = table_of(client, "score")
    assert sorted(float(row["score"]) for row in rows) == [number for number in range(1, 61) if number != 13]
    assert {row["number"]: row["status"] for row in rows}.keys() == {str(number) for number in range(1, 61)} - {"13"}
    metrics = root.data.metrics
    assert (metrics["score.count"], metrics["score.failed"], metrics["score.max"]) == (59, 0, 60)
    assert (metrics["inner.count"], metrics["outer.count"], metrics["inner.max"]) == (1, 1, 14)
    assert not [tag for tag in root.data.tags if tag.startswith("flowml.children")]


def test_none_keeps_no_runs(client: MlflowClient) -> None:
    """With ``children="none"``, failures in a process pool are counted; a subflow's tasks belong to the subflow."""

    @flow(track=Track(children="none"), task_runner=POOL)
    def inside() -> None:
        score.map([12, 13, 14], "short").wait()

    @flow
    def outside() -> None:
        inside()

    outside()
    assert [run.data.tags["flowml.kind"] for run in all_runs(client)] == ["flow", "flow"]
    run = run_of(client, "inside")
    assert (run.data.metrics["score.count"], run.data.metrics["score.failed"]) == (3, 1)
    assert "score.count" not in run_of(client, "outside").data.metrics


def test_a_task_that_outlives_its_flow_keeps_its_run(client: MlflowClient) -> None:
    """What ends in another process after the flow, which sums up no more, has a run of its own under the flow's."""
    with ProcessPoolTaskRunner(max_workers=1) as runner:

        @flow(track=Track(children="failed"))
        def leaves_early(folder: str) -> None:
            submit_to_outer_runner(folder)

        folder = Path.cwd() / "signals"
        folder.mkdir()
        RUNNERS.append(runner)
        leaves_early(str(folder))
        (folder / "go").touch()
        FUTURES[0].wait()
    run = run_of(client, "waits")
    assert (run.info.status, parent_of(run)) == ("FINISHED", flow_run(client).info.run_id)


def submit_to_outer_runner(folder: str) -> None:
    """Submit to a runner that outlives the flow; not in the flow's own body, which is pickled with what it names."""
    FUTURES.append(RUNNERS[0].submit(waits, {"folder": folder}))


@task
def waits(folder: str) -> str:
    """Wait until the test says go."""
    while not Path(folder, "go").exists():
        time.sleep(0.05)
    return "gone"
