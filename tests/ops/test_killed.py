"""Flow processes that are killed, and stores full of runs that nobody closes."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Running
from tests.ops.doomed import doomed
from tests.runs import all_runs

from flowml import ops
from flowml.ops.prefect_states import connected

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.timeout(300)
def test_killed_flows_leave_no_open_run(client: MlflowClient, tmp_path: Path) -> None:
    """After three flow processes were killed and reaped no run is open, and what Prefect completed is finished."""
    kill_and_reap(client, tmp_path, processes=3, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_twenty_killed_flows_leave_no_open_run(client: MlflowClient, tmp_path: Path) -> None:
    """The same of twenty processes, killed at any moment of their first seconds."""
    kill_and_reap(client, tmp_path, processes=20, seed=2)


def kill_and_reap(client: MlflowClient, folder: Path, *, processes: int, seed: int) -> None:
    """Kill flow processes while they work, reap from two sides at once, and look at all that they left."""
    moment = random.Random(seed)
    for number in range(processes):
        kill_one(folder / f"{number}.log", client.tracking_uri, after=moment.uniform(0, 4))
    left = [run.info.run_id for run in all_runs(client) if run.info.status == "RUNNING"]
    assert len(left) >= processes  # each flow's own at least
    reports = reap_twice_at_once(client.tracking_uri)
    assert {run["run_id"] for report in reports for run in report["closed"]} == set(left)
    runs = all_runs(client)
    assert [run.info.run_id for run in runs if run.info.status == "RUNNING"] == []
    assert_no_completed_is_unfinished(runs)
    before = {run.info.run_id: (run.info.status, run.info.end_time, run.data.tags) for run in runs}
    assert ops.reap_runs(grace=0).closed == []
    assert {run.info.run_id: (run.info.status, run.info.end_time, run.data.tags) for run in all_runs(client)} == before


def kill_one(log: Path, uri: str, *, after: float) -> None:
    """Start a flow in a process of its own and kill it some time after it began."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.ops.doomed"],
            env=environment(uri),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=output,
        )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"begun\n", log.read_text()[-3000:]
        time.sleep(after)  # the moment that is under test
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def reap_twice_at_once(uri: str) -> list[dict[str, list[dict[str, str]]]]:
    """Run ``flowml reap --json`` in two processes at the same time and return what each says."""
    command = [sys.executable, "-m", "flowml.cli.app", "reap", "--json"]
    both = [
        subprocess.Popen(command, env=environment(uri), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    return [json.loads(out) for out, _ in told]


def environment(uri: str) -> Mapping[str, str]:
    """Return the environment of a process that knows this one's Prefect and MLflow."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "FLOWML_"))}
    inherited |= {"MLFLOW_DISABLE_TELEMETRY": "true", "FLOWML_TRACKING_URI": uri}
    inherited |= {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_LOGGING_LEVEL": "ERROR"}
    return {**inherited, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}


def assert_no_completed_is_unfinished(runs: list[Run]) -> None:
    """Compare with Prefect: of what it calls Completed, the last attempt is FINISHED."""
    last: dict[str, Run] = {}
    for run in runs:
        tags = run.data.tags
        run_id = tags.get("prefect.task_run_id") or tags["prefect.flow_run_id"]
        if "flowml.kind" in tags and int(tags["flowml.attempt"]) >= int(
            last[run_id].data.tags["flowml.attempt"] if run_id in last else 0
        ):
            last[run_id] = run
    with connected() as prefects:
        states = prefects.task_runs(last) | prefects.flow_runs(last)
    wrong = [run_id for run_id, run in last.items() if run_id in states and states[run_id].type == "COMPLETED"]
    assert len(wrong) > 0  # there were such
    assert Counter(last[run_id].info.status for run_id in wrong) == {"FINISHED": len(wrong)}


@pytest.mark.timeout(900)
def test_ten_thousand_open_runs(client: MlflowClient, project: Path) -> None:
    """Each of 10,000 open runs is judged, page by page, though those that are closed move MLflow's pages."""
    database = project / ".flowml" / "mlflow.db"
    completed, running = ([prefects_flow_run(state) for _ in range(20)] for state in (Completed(), Running()))
    deleted = [str(uuid4()) for _ in range(10)]
    fill(database, [*completed, *running, *deleted], each=200)
    started = time.monotonic()
    report = ops.reap_runs(grace=0)
    seconds = time.monotonic() - started
    with closing(sqlite3.connect(database)) as read:
        asked = (
            "select t.value, r.status, count(*) from runs r join tags t using (run_uuid) where t.key = ? group by 1, 2"
        )
        found = {(flow, status): count for flow, status, count in read.execute(asked, ["prefect.flow_run_id"])}
    expected = {(flow, "FINISHED"): 1 for flow in completed} | {(flow, "FAILED"): 199 for flow in completed}
    expected |= {(flow, "RUNNING"): 200 for flow in running} | {(flow, "KILLED"): 200 for flow in deleted}
    assert found == expected
    assert (len(report.closed), report.running) == (6000, 4000)
    assert seconds < 600, seconds


def prefects_flow_run(state: State) -> str:
    """Let Prefect know a flow run in a state, and return its id."""
    with get_client(sync_client=True) as prefects:
        created = prefects.create_flow_run(doomed, state=Running())
        prefects.set_flow_run_state(created.id, state, force=True)
    return str(created.id)


def fill(database: Path, flow_runs: list[str], *, each: int) -> None:
    """Put open runs into an MLflow database: a flow's and those of its tasks, begun in turn."""
    runs, tags = [], []
    for flow in flow_runs:
        root = uuid4().hex
        for number in range(each):
            run_id = uuid4().hex if number else root
            runs.append((run_id, f"run-{number}", "RUNNING", 1_000_000 + number, "active", "", 0, ""))
            told = {"prefect.flow_run_id": flow, "flowml.kind": "flow", "flowml.root_run_id": root}
            if number:
                told |= {"flowml.kind": "task", "prefect.task_run_id": str(uuid4()), "mlflow.parentRunId": root}
            tags += [(key, value, run_id) for key, value in told.items()]
    with closing(sqlite3.connect(database)) as write:
        columns = "run_uuid, name, status, start_time, lifecycle_stage, artifact_uri, experiment_id, user_id"
        write.executemany(f"insert into runs ({columns}) values (?, ?, ?, ?, ?, ?, ?, ?)", runs)
        write.executemany("insert into tags (key, value, run_uuid) values (?, ?, ?)", tags)
        write.commit()
