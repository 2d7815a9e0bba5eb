"""A flow run with several attempts: in one process, or run again through the API in others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.states import AwaitingRetry, Scheduled, State

from flowml import flow
from tests.ends.compare import differences
from tests.ends.processes import child, flow_of, open_runs, start, state_of, until
from tests.ends.test_ends import latest
from tests.runs import all_runs, parent_of, runs_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def text_of(client: MlflowClient, run_id: str, path: str, folder: Path) -> str:
    """Return what a file of a run says."""
    return Path(client.download_artifacts(run_id, path, str(folder))).read_text()


def files_of(client: MlflowClient, run_id: str, path: str | None = None) -> set[str]:
    """Return the names of all files of a run, but for those that tell how to make it again."""
    found = [each for each in client.list_artifacts(run_id, path) if each.path != "reproduce"]
    below = [files_of(client, run_id, each.path) for each in found if each.is_dir]
    return {each.path for each in found if not each.is_dir}.union(*below)


def has_ended(client: MlflowClient, status: str) -> bool:
    """Tell whether MLflow has a flow's run that ended so."""
    return any(run.info.status == status and run.data.tags["flowml.kind"] == "flow" for run in all_runs(client))


def errors_in(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that tell of errors."""
    return {key: value for key, value in tags.items() if "error" in key}


def test_each_attempt_has_its_error(client: MlflowClient, project: Path) -> None:
    """A flow that failed twice and then succeeded has the two errors with their tracebacks, and none of its own."""

    @flow(retries=2)
    def third_time_lucky() -> None:
        count = runtime.flow_run.run_count
        if count < 3:
            raise ValueError(f"failed at attempt {count}")

    third_time_lucky()
    assert differences(client, latest("third-time-lucky")) == []
    check_two_failures(client, project)


def check_two_failures(client: MlflowClient, folder: Path) -> None:
    """Look for the two errors of a flow that succeeded at its third attempt."""
    run = flow_of(client)
    assert run.info.status == "FINISHED"
    assert run.data.tags["flowml.attempt"] == "3"
    assert errors_in(run.data.tags) == {
        "flowml.attempt_1.error": "failed at attempt 1",
        "flowml.attempt_1.error_type": "ValueError",
        "flowml.attempt_2.error": "failed at attempt 2",
        "flowml.attempt_2.error_type": "ValueError",
    }
    run_id = run.info.run_id
    drawn = {"flow/graph.md", "flow/graph.svg"}  # where it called something
    assert files_of(client, run_id) - drawn == {"attempt_1/traceback.txt", "attempt_2/traceback.txt"}
    assert "ValueError: failed at attempt 1" in text_of(client, run_id, "attempt_1/traceback.txt", folder)
    assert "ValueError: failed at attempt 2" in text_of(client, run_id, "attempt_2/traceback.txt", folder)


def test_the_last_attempt_that_fails_is_the_runs_error(client: MlflowClient, project: Path) -> None:
    """Where all attempts fail, the last one's error is the run's."""

    @flow(retries=1)
    def never_lucky() -> None:
        raise ValueError(f"failed at attempt {runtime.flow_run.run_count}")

    never_lucky(return_state=True)
    run = flow_of(client)
    assert differences(client, latest("never-lucky")) == []
    assert errors_in(run.data.tags) == {
        "flowml.attempt_1.error": "failed at attempt 1",
        "flowml.attempt_1.error_type": "ValueError",
        "flowml.error": "failed at attempt 2",
        "flowml.error_type": "ValueError",
    }
    assert files_of(client, run.info.run_id) == {"attempt_1/traceback.txt", "traceback.txt"}
    assert "failed at attempt 2" in text_of(client, run.info.run_id, "traceback.txt", project)


@pytest.fixture
def served(project: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Serve the flows in another process."""
    with child("-m", "tests.ends.resumed", log=project / "serve.log", environment=environment):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("served")
def test_a_flow_that_is_run_again_sums_up_the_calls_of_each_attempt(client: MlflowClient, project: Path) -> None:
    """Of calls without runs its run tells of those that another process made before, too."""
    flow_run = start("summed-up/ends", folder=str(project), attempts=2)
    until((project / "attempt-1").exists, "the first attempt works", 90)
    until(lambda: state_of(flow_run.id).name == "Failed", "Prefect says so")
    until(lambda: has_ended(client, "FAILED"), "MLflow says so")
    assert flow_of(client).data.metrics["part.count"] == 1.0
    with get_client(sync_client=True) as prefect:
        prefect.set_flow_run_state(flow_run.id, AwaitingRetry(), force=True)
    until(lambda: state_of(flow_run.id).name == "Completed", "Prefect says it", 90)
    until(lambda: has_ended(client, "FINISHED") and not open_runs(client), "MLflow says it", 20)
    run = flow_of(client)
    assert run.data.metrics["part.count"] == 2.0
    assert {key for key in run.data.metrics if key.endswith(".min")} > {"part.attempt_1.min", "part.attempt_2.min"}


@pytest.mark.slow
@pytest.mark.usefixtures("served")
def test_a_flow_that_is_run_again_goes_on_in_its_run(client: MlflowClient, project: Path) -> None:
    """A failed flow run that is set back, twice, is the same run, with the errors of both failed attempts."""
    flow_run = start("fails-first/ends", folder=str(project), attempts=3)
    again: list[State] = [AwaitingRetry(), Scheduled()]
    for number, state in enumerate(again, start=1):
        until((project / f"attempt-{number}").exists, f"attempt {number} works", 90)
        until(lambda: state_of(flow_run.id).name == "Failed", "Prefect says so")
        until(lambda: has_ended(client, "FAILED"), "MLflow says so")
        with get_client(sync_client=True) as prefect:
            prefect.set_flow_run_state(flow_run.id, state, force=True)
    until(lambda: state_of(flow_run.id).name == "Completed", "Prefect says it", 90)
    until(lambda: has_ended(client, "FINISHED") and not open_runs(client), "MLflow says it", 20)
    assert differences(client, flow_run.id) == []
    check_two_failures(client, project)
    assert {parent_of(each) for each in runs_of(client, "part")} == {flow_of(client).info.run_id}
