"""What a process of a pool sends when the flow that it works for is over."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.settings import PREFECT_API_URL

from tests.conformance.proxy import Fault, Proxy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
BELOW = {"here.square": 9.0, "cube.number 2": 8.0, "cube.number 5": 125.0}


def run(environment: Mapping[str, str], *command: str) -> str:
    """Run a program to its end; return what it said."""
    command = (sys.executable, "-m", *command)
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def flows_of(client: MlflowClient, experiment: str) -> dict[str, Run]:
    """Return the runs of flows by their flow's name."""
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], "tags.`flowml.kind` = 'flow'")
    return {each.data.tags["prefect.flow_name"]: each for each in found}


class AtItsEnd(NamedTuple):
    """A program whose calls have all ended, and whose flow has not.

    Attributes:
        running: Its process.
        go_on: Lets the flow end.
        kill: Kills it, and the processes of its pool.
    """

    running: subprocess.Popen[str]
    go_on: Callable[[], object]
    kill: Callable[[], object]


@contextmanager
def at_its_end(environment: Mapping[str, str], *arguments: str) -> Iterator[AtItsEnd]:
    """Run the program until all its calls have ended; wait for its end."""
    command, pipe = [sys.executable, "-m", "tests.everywhere.late_worker", "reached", *arguments], subprocess.PIPE
    with subprocess.Popen(
        command, env=environment, stdin=pipe, stdout=pipe, text=True, start_new_session=True
    ) as running:
        assert running.stdout
        assert running.stdin
        while "all have ended" not in running.stdout.readline():
            pass
        yield AtItsEnd(running, running.stdin.close, partial(os.killpg, running.pid, signal.SIGKILL))


def sync_by_pieces(environment: Mapping[str, str], proxy: Proxy, most: int) -> None:
    """Sync again and again, each time killed at a later request, until one comes to its end before so many."""
    command = [sys.executable, "-m", "flowml", "sync"]
    for count in range(2, most, 4):
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as syncing:
            proxy.do_at(len(proxy.requests) + count, syncing.kill)
        if syncing.returncode == 0:
            return
    pytest.fail(f"no sync came to its end within {most} requests")


@pytest.fixture
def environment(
    mlflow_server: str, project: Path, prefect_server: None, request: pytest.FixtureRequest
) -> Mapping[str, str]:
    """What the programs are told."""
    return {
        **os.environ,
        "FLOWML_EXPERIMENT": request.node.name,
        "FLOWML_HOME": str(project / "home"),
        "FLOWML_MAX_DELAY": "1",
        "FLOWML_TRACKING_URI": mlflow_server,
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
    }


def test_a_flow_tells_of_tasks_that_came_late(
    mlflow_server: str, environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    """A sync brings tasks below a subflow that ended: its run, and the one above, then have their metrics and rows."""
    client = MlflowClient(mlflow_server)
    run(environment, "tests.everywhere.late_worker")
    before = flows_of(client, request.node.name)
    assert before["pooling"].data.metrics == {"here.square": 9.0}
    run(environment, "flowml", "sync")
    after = flows_of(client, request.node.name)
    assert after["pooling"].data.metrics == BELOW
    assert after["whole"].data.metrics == {f"pooling.{key}": value for key, value in BELOW.items()}
    note = after["pooling"].data.tags["mlflow.note.content"]
    assert "cube" in note
    assert (after["pooling"].info.status, after["pooling"].info.end_time) == (
        *("FINISHED",),
        before["pooling"].info.end_time,
    )
    assert run(environment, "flowml", "sync").startswith("No journal waits.")


def test_a_flow_that_comes_late_with_its_tasks(
    mlflow_server: str, environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    """A sync that brings a subflow's end, and its tasks from another process, leaves none of them out."""
    client = MlflowClient(mlflow_server)
    run(environment, "tests.everywhere.late_worker", "away")
    before = flows_of(client, request.node.name)
    assert {each.info.status for each in before.values()} == {"RUNNING"}
    run(environment, "flowml", "sync")
    after = flows_of(client, request.node.name)
    assert after["pooling"].data.metrics == BELOW
    assert after["whole"].data.metrics == {f"pooling.{key}": value for key, value in BELOW.items()}
    assert {each.info.status for each in after.values()} == {"FINISHED"}
    assert run(environment, "flowml", "sync").startswith("No journal waits.")


def test_a_metric_that_would_get_another_name(
    mlflow_server: str, environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    """A flow that ends while one of two calls waits on the disk names the metrics of both once it knows both."""
    client = MlflowClient(mlflow_server)
    run(environment, "tests.everywhere.late_worker", "half")
    before = flows_of(client, request.node.name)
    assert before["pooling"].data.metrics == {"here.square": 9.0}
    run(environment, "flowml", "sync")
    after = flows_of(client, request.node.name)
    assert after["pooling"].data.metrics == BELOW
    assert after["whole"].data.metrics == {f"pooling.{key}": value for key, value in BELOW.items()}
    assert list(Path(environment["FLOWML_HOME"]).rglob("*.late")) == []


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "late"])
def test_a_flow_keeps_a_metric_of_its_own(
    mlflow_server: str, environment: Mapping[str, str], request: pytest.FixtureRequest, *, is_killed: bool
) -> None:
    """What it has logged itself under the name that a task's metric would get is not replaced; NaN is told once."""
    client = MlflowClient(mlflow_server)
    if is_killed:
        with at_its_end(environment, "own") as (_, _, kill):
            kill()
    else:
        run(environment, "tests.everywhere.late_worker", "half", "own")
    run(environment, "flowml", "sync")
    pooling = flows_of(client, request.node.name)["pooling"]
    assert math.isnan(pooling.data.metrics.pop("here.nothing"))
    assert pooling.data.metrics == {**BELOW, "here.square": 1.5, "cube.number 5": 2.5}
    points = partial(client.get_metric_history, pooling.info.run_id)
    assert [each.value for each in points("here.square")] == [1.5]
    assert [each.value for each in points("cube.number 5")] == [2.5]
    assert len(points("here.nothing")) == 1


def test_a_flow_that_was_killed(
    mlflow_server: str, environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    """A sync closes it, and has it tell of what is below it as a flow does that fails."""
    client = MlflowClient(mlflow_server)
    with at_its_end(environment) as (_, _, kill):
        kill()
    run(environment, "flowml", "sync")
    after = flows_of(client, request.node.name)
    assert {each.info.status for each in after.values()} == {"FAILED"}
    assert after["pooling"].data.metrics == BELOW
    assert after["whole"].data.metrics == {}  # as of any subflow that failed
    notes = {name: each.data.tags["mlflow.note.content"] for name, each in after.items()}
    assert notes["pooling"].startswith("**Failed** after ")
    assert "* its process " in notes["pooling"]
    assert "cube" in notes["pooling"]
    assert str(after["pooling"].info.run_name) in notes["whole"]
    assert run(environment, "flowml", "sync").startswith("No journal waits.")


def test_a_task_whose_process_was_killed(
    mlflow_server: str, environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    """A sync closes its run, and the flow that ended without it no longer says that it is running."""
    client = MlflowClient(mlflow_server)
    run(environment, "tests.everywhere.late_worker", "dies")
    run(environment, "flowml", "sync")
    experiment = client.get_experiment_by_name(request.node.name).experiment_id
    (killed,) = client.search_runs([experiment], "tags.`prefect.task_name` = 'cube'")
    assert killed.info.status in {"KILLED", "FAILED"}
    pooling = flows_of(client, request.node.name)["pooling"]
    assert pooling.info.status == "FINISHED"
    note = pooling.data.tags["mlflow.note.content"]
    assert "cube" in note
    assert "Running&emsp;" not in note
    assert run(environment, "flowml", "sync").startswith("No journal waits.")


@pytest.mark.slow
def test_a_flow_that_was_killed_and_a_server_that_is_slow(
    mlflow_server: str, environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    """One sync is enough, though what there is to tell takes longer than any call may."""
    client = MlflowClient(mlflow_server)
    with Proxy(mlflow_server) as proxy:
        slow = {**environment, "FLOWML_TRACKING_URI": proxy.address, "FLOWML_TIMEOUT": "4"}
        with at_its_end(slow) as (_, _, kill):
            kill()
        proxy.fail_from(1, Fault("slow", 0.7))
        run(slow, "flowml", "sync")
    assert flows_of(client, request.node.name)["pooling"].data.metrics == BELOW


@pytest.mark.parametrize("half", [[], ["half"]], ids=["all", "half"])
def test_calls_without_runs_that_came_late(
    half: list[str], mlflow_server: str, environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    """A flow that sums up its calls does so again when a sync brings more, and the one above, too; each counts once."""
    client = MlflowClient(mlflow_server)
    run(environment, "tests.everywhere.late_worker", "summed", *half)
    before = flows_of(client, request.node.name)
    assert before["pooling"].data.metrics.get("cube.count") == (1.0 if half else None)
    assert before["pooling"].data.metrics["here.count"] == 1.0
    run(environment, "flowml", "sync")
    after = flows_of(client, request.node.name)
    pooling, whole = after["pooling"], after["whole"]
    expected = {"count": 2.0, "failed": 0.0, "min": 8.0, "mean": 66.5, "max": 125.0}
    for key, value in expected.items():
        assert pooling.data.metrics[f"cube.{key}"] == whole.data.metrics[f"pooling.cube.{key}"] == value
    assert pooling.data.metrics["here.count"] == 1.0
    assert [key for key in pooling.data.tags if key.startswith("flowml.children.")] == []
    table = Path(client.download_artifacts(pooling.info.run_id, "children/cube.csv")).read_text()
    assert [row.split(",")[0] for row in table.splitlines()] == ["run", "cube-2", "cube-5"]
    assert "cube" in pooling.data.tags["mlflow.note.content"]
    assert run(environment, "flowml", "sync").startswith("No journal waits.")
    assert flows_of(client, request.node.name)["pooling"].data.metrics == pooling.data.metrics


@pytest.mark.slow
def test_a_task_that_was_taken_for_lost(
    mlflow_server: str, environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    """A flow that fails closes what its pool left open; what the pool brings later says how that ended."""
    client = MlflowClient(mlflow_server)
    run(environment, "tests.everywhere.late_worker", "fails")
    experiment = client.get_experiment_by_name(request.node.name).experiment_id
    below = "tags.`prefect.task_name` = 'cube'"
    taken = client.search_runs([experiment], below)
    assert {(each.info.status, "flowml.closed" in each.data.tags) for each in taken} == {("KILLED", True)}
    run(environment, "flowml", "sync")
    found = client.search_runs([experiment], below)
    assert [(each.info.status, each.data.tags["prefect.state"]) for each in found] == [("FINISHED", "Completed")]
    assert [key for each in found for key in each.data.tags if key.startswith("flowml.closed")] == []


@pytest.mark.slow
def test_a_sync_that_is_killed_before_the_flow_has_told(
    mlflow_server: str, environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    """Wherever a sync ends, also when all tasks are sent, the next one lets the flows tell of them, once."""
    client = MlflowClient(mlflow_server)
    with Proxy(mlflow_server) as proxy:
        mine = {**environment, "FLOWML_TRACKING_URI": proxy.address}
        run(mine, "tests.everywhere.late_worker")
        sync_by_pieces(mine, proxy, 60)
    flows = flows_of(client, request.node.name)
    assert flows["pooling"].data.metrics == BELOW
    assert flows["whole"].data.metrics == {f"pooling.{key}": value for key, value in BELOW.items()}
    points = {key: len(client.get_metric_history(flows["pooling"].info.run_id, key)) for key in BELOW}
    assert points == dict.fromkeys(BELOW, 1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_flow_that_is_killed_while_it_sums_up(
    mlflow_server: str, environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    """Wherever it is killed once all its calls have ended, in its body too, the next sync sums them up."""
    client = MlflowClient(mlflow_server)
    wrong: dict[int, object] = {}
    for count in [*range(10), *range(10, 60, 5)]:
        experiment = f"{request.node.name}-{count}"
        with Proxy(mlflow_server) as proxy:
            mine = {**environment, "FLOWML_TRACKING_URI": proxy.address, "FLOWML_EXPERIMENT": experiment}
            with at_its_end(mine, "summed") as (running, go_on, kill):
                if count:
                    proxy.do_at(len(proxy.requests) + count, kill)
                    go_on()
                else:
                    kill()
            run({**environment, "FLOWML_EXPERIMENT": experiment}, "flowml", "sync", "--to", mlflow_server)
        found = flows_of(client, experiment)["pooling"].data.metrics
        if (found.get("here.count"), found.get("cube.count"), found.get("cube.mean")) != (1.0, 2.0, 66.5):
            wrong[count] = found
        if running.returncode == 0:
            break
    assert running.returncode == 0
    assert wrong == {}


@pytest.mark.slow
def test_a_sync_that_is_killed_keeps_all_calls_without_runs(
    mlflow_server: str, environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    """However often it is killed, the flow's run keeps the calls of its pool, to be summed up with what comes later."""
    client = MlflowClient(mlflow_server)
    with Proxy(mlflow_server) as proxy:
        mine = {**environment, "FLOWML_TRACKING_URI": proxy.address}
        with at_its_end(mine, "summed") as (_, go_on, kill):
            proxy.do_at(len(proxy.requests) + 1, kill)
            go_on()
        sync_by_pieces(mine, proxy, 150)
    pooling = flows_of(client, request.node.name)["pooling"]
    files = [each.path for each in client.list_artifacts(pooling.info.run_id, "children")]
    kept = [
        call["name"]
        for path in files
        if path.endswith(".json")
        for call in json.loads(Path(client.download_artifacts(pooling.info.run_id, path)).read_text())
    ]
    assert {"cube-2", "cube-5"} <= set(kept)
    assert (pooling.data.metrics["here.count"], pooling.data.metrics["cube.count"]) == (1.0, 2.0)
    assert [key for key in pooling.data.tags if key.startswith("flowml.children.")] == []


def test_an_attempt_at_a_task_that_comes_when_the_first_is_there(
    mlflow_server: str, environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    """A sync that brings the second attempt alone links it to the first, which MLflow has had from its process."""
    run(environment, "tests.everywhere.late_retry")
    run(environment, "flowml", "sync")
    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name(request.node.name).experiment_id
    found = client.search_runs([experiment], "tags.`flowml.kind` = 'task'")
    first, second = sorted(found, key=lambda run: run.data.tags["flowml.attempt"])
    assert first.data.tags["flowml.next_run_id"] == second.info.run_id
    assert second.data.tags["flowml.previous_run_id"] == first.info.run_id
