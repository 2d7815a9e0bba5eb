"""The same where a process is stopped or dies: by signals, by Prefect's runner, by a worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling, Crashed

from flowml.capture.engine.hooks import close_tracked_runs
from tests.ends.compare import differences
from tests.ends.processes import ROOT, child, flow_of, open_runs, start, state_of, until
from tests.ends.served import NAME, works_until_stopped
from tests.ends.test_ends import latest
from tests.runs import all_runs

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


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
    flow_run = start(NAME, folder=str(project), threads=1)
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


def test_a_runner_with_an_unusable_setting_closes_the_runs(
    client: MlflowClient,
    project: Path,
    environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What only the sending of the rest needs keeps no run open; the log names the setting."""
    dying = "import os, flowml\n@flowml.flow\ndef dying():\n    flowml.flush()\n    os._exit(9)\ndying()"
    with child("-c", dying, log=project / "log", environment=environment) as process:
        process.wait(60)
    with get_client(sync_client=True) as prefect:
        prefect.set_flow_run_state(latest("dying"), Crashed(), force=True)
        flow_run = prefect.read_flow_run(latest("dying"))
    monkeypatch.setenv("FLOWML_JOURNAL_LIMIT", "much")
    close_tracked_runs(works_until_stopped, flow_run, flow_run.state)
    assert flow_of(client).info.status == "FAILED"
    assert "could not send what the flow run left" in caplog.text
    assert "journal_limit" in caplog.text.lower()


@pytest.mark.parametrize("how", ["served", "worked"])
def test_a_runner_closes_what_a_dead_process_left(
    request: pytest.FixtureRequest, client: MlflowClient, project: Path, how: str
) -> None:
    """When a flow's process is killed, its runner closes the runs as Prefect's are."""
    request.getfixturevalue(how)
    flow_run = started(project)
    os.kill(int((project / "pid").read_text()), signal.SIGKILL)
    until(lambda: state_of(flow_run.id).name == "Crashed", "Prefect says so", 60)
    until(lambda: all_runs(client) and not open_runs(client), "there are runs, and none is open", 30)
    assert flow_of(client).info.status == "FAILED"
    assert flow_of(client).data.tags["prefect.state"] == "Crashed"
