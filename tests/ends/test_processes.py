"""The same where a process is stopped or dies: by signals, by Prefect's runner, by a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling

from tests.ends.compare import differences
from tests.ends.served import NAME
from tests.ends.test_ends import latest
from tests.runs import all_runs

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


def until(happened: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Ask until it has happened; return what was answered."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = happened()
        if answer:
            return answer
        time.sleep(0.2)
    return pytest.fail(f"not within {seconds} s: {what}")


@contextmanager
def child(*arguments: str, log: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python in a process of its own, in a group of its own, which is ended at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            cwd=ROOT,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def environment(client: MlflowClient, project: Path) -> Mapping[str, str]:
    """What a process needs to know to use the same servers."""
    return {
        **os.environ,
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "FLOWML_HOME": str(project / ".flowml"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }


def state_of(flow_run_id: UUID) -> Any:
    """Return the state that Prefect's API has."""
    with get_client(sync_client=True) as prefect:
        return prefect.read_flow_run(flow_run_id).state


def works(project: Path, count: int = 2) -> Callable[[], bool]:
    """Tell whether so many tasks are at work."""
    return lambda: len(list(project.glob("working-*"))) >= count


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=lambda sent: sent.name)
def test_a_signal_ends_a_script(client: MlflowClient, project: Path, environment: Mapping[str, str], sent: int) -> None:
    """A script that is told to stop says so of its flow and its tasks before it goes."""
    with child(
        "-m", "tests.ends.served", "works", str(project), log=project / "log", environment=environment
    ) as process:
        until(works(project, 1), "the task works")
        process.send_signal(sent)
        process.wait(60)
    flow_run_id = latest("works-until-stopped")
    assert state_of(flow_run_id).name == "Crashed"
    assert open_runs(client) == []
    assert flow_of(client).info.status == "FAILED"
    assert flow_of(client).data.tags["prefect.state"] == "Crashed"


def test_sys_exit_ends_a_script(client: MlflowClient, project: Path, environment: Mapping[str, str]) -> None:
    """A flow that leaves by ``sys.exit`` has crashed, in both."""
    with child(
        "-m", "tests.ends.served", "exits", str(project), log=project / "log", environment=environment
    ) as process:
        assert process.wait(60) == 3
    assert differences(client, latest("exits")) == []


def open_runs(client: MlflowClient) -> list[str]:
    """Return the names of the runs that are open."""
    return [run.info.run_name for run in all_runs(client) if run.info.status == "RUNNING"]


def flow_of(client: MlflowClient) -> Any:
    """Return the flow's run."""
    (found,) = [run for run in all_runs(client) if run.data.tags["flowml.kind"] == "flow"]
    return found


@pytest.fixture
def served(project: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Serve the flow in another process."""
    with child("-m", "tests.ends.served", "serve", log=project / "serve.log", environment=environment):
        yield


@pytest.fixture
def worked(project: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Deploy the flow to a pool of processes, with a worker for it in another process."""
    from prefect.flows import Flow

    with get_client(sync_client=True) as prefect:
        prefect.request("POST", "/work_pools/", json={"name": project.name, "type": "process"}).raise_for_status()
    entrypoint = "tests/ends/served.py:works_until_stopped"
    Flow.from_source(str(ROOT), entrypoint).deploy("ends", work_pool_name=project.name, print_next_steps=False)
    worker = ("-m", "prefect", "worker", "start", "--pool", project.name, "--type", "process")
    with child(*worker, log=project / "worker.log", environment=environment):
        yield


def started(project: Path) -> FlowRun:
    """Start the deployment; return when its tasks work."""

    def deployment() -> Any:
        with get_client(sync_client=True) as prefect, suppress(ObjectNotFound):
            return prefect.read_deployment_by_name(NAME)

    found = until(deployment, "the deployment is there")
    with get_client(sync_client=True) as prefect:
        flow_run = prefect.create_flow_run_from_deployment(found.id, parameters={"folder": str(project), "threads": 1})
    until(works(project), "the tasks work", 90)
    return flow_run


@pytest.mark.parametrize("how", ["served", "worked"])
def test_cancelling_kills_the_runs(
    request: pytest.FixtureRequest, client: MlflowClient, project: Path, how: str
) -> None:
    """A flow that is cancelled through the API is KILLED within 30 seconds, and so is what was open below it."""
    request.getfixturevalue(how)
    flow_run = started(project)
    with get_client(sync_client=True) as prefect:
        prefect.set_flow_run_state(flow_run.id, Cancelling(), force=True)
    until(lambda: not open_runs(client), "no run is open", 30)
    until(lambda: state_of(flow_run.id).name == "Cancelled", "Prefect says so", 60)
    assert flow_of(client).info.status == "KILLED"
    assert flow_of(client).data.tags["prefect.state"] == "Cancelled"


@pytest.mark.parametrize("how", ["served", "worked"])
def test_a_runner_closes_what_a_dead_process_left(
    request: pytest.FixtureRequest, client: MlflowClient, project: Path, how: str
) -> None:
    """When a flow's process is killed, its runner closes the runs as Prefect's are."""
    request.getfixturevalue(how)
    flow_run = started(project)
    os.kill(int((project / "pid").read_text()), signal.SIGKILL)
    until(lambda: state_of(flow_run.id).name == "Crashed", "Prefect says so", 60)
    until(lambda: not open_runs(client), "no run is open", 30)
    assert flow_of(client).info.status == "FAILED"
    assert flow_of(client).data.tags["prefect.state"] == "Crashed"
