"""Worker processes that are killed in the middle of a task, and a Prefect server that is gone as by a power cut."""

from __future__ import annotations

import os
import signal
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.ends import lost
from tests.ends.processes import child, flow_of, open_runs, until
from tests.runs import parent_of, run_of, runs_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


def is_lost(run: Any) -> bool:
    """Tell whether a run was closed for the one that was lost in it."""
    tags = run.data.tags
    assert tags["flowml.closed"] == "its worker was gone when the flow ended"
    return (run.info.status, tags["prefect.state"]) == ("KILLED", "Lost")


def test_a_flow_fails_with_its_worker(client: MlflowClient, project: Path) -> None:
    """Where a pool's process is killed, the flow fails in both, and the task's run is closed as lost."""
    state = lost.loses_a_worker(project, return_state=True)
    assert open_runs(client) == []
    assert flow_of(client).info.status == "FAILED"
    assert flow_of(client).data.tags["prefect.state"] == state.name
    assert is_lost(run_of(client, "dies_once"))


def test_a_flow_gets_over_its_worker(client: MlflowClient, project: Path) -> None:
    """A flow that completes although a pool's process was killed leaves no run open either."""
    lost.gets_over_it(project)
    assert open_runs(client) == []
    assert flow_of(client).info.status == "FINISHED"
    assert is_lost(run_of(client, "dies_once"))


def test_dask_runs_a_lost_task_again(client: MlflowClient, project: Path) -> None:
    """Where Dask runs the task of a killed worker elsewhere, that is its one last run; the first is closed as lost."""
    from prefect_dask import DaskTaskRunner

    cluster = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    lost.loses_a_worker.with_options(task_runner=DaskTaskRunner(cluster_kwargs=cluster))(project)
    assert open_runs(client) == []
    assert flow_of(client).info.status == "FINISHED"
    (last,) = [run for run in runs_of(client, "dies_once") if "flowml.superseded" not in run.data.tags]
    (first,) = [run for run in runs_of(client, "dies_once") if run.info.run_id != last.info.run_id]
    assert (last.info.status, last.data.tags["prefect.state"]) == ("FINISHED", "Completed")
    assert is_lost(first)
    assert {parent_of(first), parent_of(last)} == {flow_of(client).info.run_id}


@pytest.fixture
def server(project: Path, environment: Mapping[str, str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Start a Prefect server of this test's own; its process, and what flows need to know."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    own = {
        **environment,
        "PREFECT_HOME": str(project / "prefect"),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{project}/prefect.db",
        "PREFECT_API_URL": api,
        "PREFECT_CLIENT_MAX_RETRIES": "1",  # Prefect's client gives up after seconds, not after a minute
    }

    def healthy() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{api}/health", timeout=1) as answer:
            return bool(answer.status == 200)
        return False

    command = ("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    with child(*command, log=project / "server.log", environment=own) as process:
        until(healthy, "the server answers", 120)
        yield process.pid, own


def test_a_server_that_is_gone(client: MlflowClient, project: Path, server: tuple[int, Mapping[str, str]]) -> None:
    """The user sees Prefect's own error, soon, and no run is open: the flow's says that its end is unknown."""
    pid, environment = server
    with child("-m", "tests.ends.lost", str(project), log=project / "log", environment=environment) as process:
        until((project / "working").exists, "the flow works", 90)
        os.killpg(pid, signal.SIGKILL)
        (project / "gone").touch()
        assert process.wait(120) == 1
    assert "httpx.ConnectError" in (project / "log").read_text()
    assert open_runs(client) == []
    assert (flow_of(client).info.status, flow_of(client).data.tags["prefect.state"]) == ("FAILED", "Unknown")
    assert [run.info.status for run in runs_of(client, "step")] == ["FINISHED"] * 2
