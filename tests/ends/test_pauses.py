"""A flow that waits: inside its process, or for another process to go on with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run, resume_flow_run
from prefect.states import Cancelled

from flowml import flow, ops, task
from tests.ends.compare import differences
from tests.ends.processes import child, flow_of, open_runs, start, state_of, until
from tests.ends.test_ends import latest
from tests.runs import parent_of, run_of, runs_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@task
def step(name: str) -> str:
    """Do something."""
    return name


def cancel(flow_run_id: Any) -> None:
    """Cancel a flow run at once, whatever it does."""
    with get_client(sync_client=True) as prefect:
        prefect.set_flow_run_state(flow_run_id, Cancelled(), force=True)


@flow
def pauses(timeout: int = 60) -> None:
    """Wait between two tasks."""
    step("before")
    pause_flow_run(timeout=timeout, poll_interval=1)
    step("after")


def meanwhile(client: MlflowClient, act: Callable[[Any], Any], seen: list[Any]) -> threading.Thread:
    """Act on the flow run once its run in MLflow is tagged as paused; note what MLflow says then."""

    def work() -> None:
        def paused() -> Any:
            runs = runs_of(client, "pauses")
            return runs and runs[0].data.tags.get("prefect.state") == "Paused" and runs[0]

        run = until(paused, "the run is paused")
        seen.append(run)
        act(run.data.tags["prefect.flow_run_id"])

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_paused_flow_goes_on_in_its_run(client: MlflowClient) -> None:
    """While it waits its run is open and says Paused; resumed through the API it ends as Prefect says."""
    seen: list[Any] = []
    thread = meanwhile(client, resume_flow_run, seen)
    pauses()
    thread.join()
    run = run_of(client, "pauses")
    assert (seen[0].info.status, seen[0].info.run_id) == ("RUNNING", run.info.run_id)
    counted = f"{run.info.run_name}: attempt 1 of 2"  # for Prefect's API, not for its engine
    assert differences(client, latest("pauses")) == [counted]
    assert {parent_of(each) for each in runs_of(client, "step")} == {run.info.run_id}


@pytest.mark.slow
def test_a_pause_that_takes_too_long_fails(client: MlflowClient) -> None:
    """A flow that nobody resumes fails, in both."""
    with pytest.raises(FlowPauseTimeout):
        pauses(timeout=2)
    assert differences(client, latest("pauses")) == []
    assert run_of(client, "pauses").data.tags["flowml.error_type"] == "FlowPauseTimeout"


def test_a_pause_that_is_refused_ends_as_the_server_says(client: MlflowClient) -> None:
    """A flow that was cancelled before it could pause is cancelled in both, and its run has the error."""

    @flow
    def is_cancelled() -> None:
        cancel(runtime.flow_run.id)
        pause_flow_run(timeout=60)

    is_cancelled(return_state=True)
    assert differences(client, latest("is-cancelled")) == []
    assert "cannot be paused" in run_of(client, "is-cancelled").data.tags["flowml.error"]


@pytest.fixture
def served(project: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Serve the flows in another process."""
    with child("-m", "tests.ends.resumed", log=project / "serve.log", environment=environment):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("served")
def test_a_suspended_flow_goes_on_in_its_run(client: MlflowClient) -> None:
    """The process leaves, the run stays open and says so; resumed, another process ends the same run."""
    flow_run = start("suspends/ends")
    until(lambda: runs_of(client, "suspends"), "the flow runs")
    until(lambda: flow_of(client).data.tags.get("prefect.state") == "Suspended", "the run says it")
    until(lambda: state_of(flow_run.id).name == "Suspended", "Prefect says it")
    suspended = flow_of(client)
    assert suspended.info.status == "RUNNING"
    assert open_runs(client) == [suspended.info.run_name]
    resume_flow_run(flow_run.id)
    until(lambda: state_of(flow_run.id).is_final(), "the flow run has ended", 90)
    until(lambda: not open_runs(client), "no run is open", 20)
    assert differences(client, flow_run.id) == []
    assert flow_of(client).info.run_id == suspended.info.run_id
    assert flow_of(client).data.tags["flowml.process"] != suspended.data.tags["flowml.process"]
    parts = runs_of(client, "part")
    assert {parent_of(each) for each in parts} == {suspended.info.run_id}
    told = {key: value for key, value in flow_of(client).data.metrics.items() if key.startswith("part.")}
    assert told.keys() == {"part.before", "part.after", "part.cached"}
    assert told["part.before"] != told["part.after"]


@pytest.mark.slow
@pytest.mark.usefixtures("served")
def test_a_suspended_flow_that_is_cancelled_is_killed(client: MlflowClient) -> None:
    """A flow that is cancelled while no process has it is closed as Prefect says."""
    flow_run = start("suspends/ends")
    until(lambda: runs_of(client, "suspends"), "the flow runs")
    until(lambda: flow_of(client).data.tags.get("prefect.state") == "Suspended", "the run says it")
    cancel(flow_run.id)
    (closed,) = ops.reap_runs(grace=0).closed
    assert (closed.run_id, flow_of(client).info.status) == (flow_of(client).info.run_id, "KILLED")
    assert differences(client, flow_run.id) == []
