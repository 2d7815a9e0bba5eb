"""A flow run with several attempts, some of which MLflow gets when later ones are over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import AwaitingRetry, Pending

from flowml.options import Children
from tests.conformance.proxy import Fault, Proxy
from tests.ends.compare import differences
from tests.ends.test_reruns import errors_in, files_of
from tests.everywhere.attempted import suspends, third_time
from tests.runs import parent_of, runs_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
FAILED = {
    number: {
        f"flowml.attempt_{number}.error": f"failed at attempt {number}",
        f"flowml.attempt_{number}.error_type": "ValueError",
    }
    for number in (1, 2)
}


def slow(late: list[int]) -> Any:
    """Leave a case to the slow tests."""
    return pytest.param(late, marks=pytest.mark.slow)


@dataclass
class Attempts:
    """A flow run whose three attempts are processes, and what MLflow has of it.

    Attributes:
        proxy: By which they reach MLflow.
        environment: What they are told.
        folder: Where their homes are.
        experiment: The name of their experiment.
        client: A client of MLflow.
    """

    proxy: Proxy
    environment: Mapping[str, str]
    folder: Path
    experiment: str
    client: MlflowClient

    def start(self, *late: int, killed: Sequence[int] = (), home: str = "home-{}", children: Children = "all") -> None:
        """Run the three; MLflow is gone during some of them, and some are killed."""
        told = {"KILLED": "".join(map(str, killed)), "CHILDREN": children}
        with get_client(sync_client=True) as prefect:
            made = prefect.create_flow_run(third_time, parameters={"numbers": 3}, state=Pending())
            for attempt in (1, 2, 3):
                if attempt in late:
                    self.proxy.fail_from(1, Fault("refuse"))
                command = ["tests.everywhere.attempted", str(made.id)]
                ended = self.run(home.format(attempt), *command, **told)
                assert ended.returncode == (-signal.SIGKILL if attempt in killed else 0), ended.stderr
                self.proxy.heal()
                if attempt < 3:
                    prefect.set_flow_run_state(made.id, AwaitingRetry(), force=True)
        self.id = made.id

    def run(self, home: str, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        environment = {**self.environment, "FLOWML_HOME": str(self.folder / home), **more}
        command = (sys.executable, "-m", *command)
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    def sync(self, *homes: str) -> None:
        """Send what waits in the homes, one after the other."""
        for home in homes:
            ended = self.run(home, "flowml", "sync")
            assert ended.returncode == 0, ended.stdout + ended.stderr

    def flow(self) -> Run:
        """Return the one run of the flow."""
        experiment = self.client.get_experiment_by_name(self.experiment)
        found = self.client.search_runs([experiment.experiment_id], "tags.`flowml.kind` = 'flow'")
        assert len(found) == 1
        return found[0]


@pytest.fixture
def attempts(
    mlflow_server: str, project: Path, prefect_server: None, request: pytest.FixtureRequest
) -> Iterator[Attempts]:
    """Attempts that reach MLflow by a proxy."""
    with Proxy(mlflow_server) as proxy:
        environment = {
            **os.environ,
            "FLOWML_EXPERIMENT": request.node.name,
            "FLOWML_MAX_DELAY": "1",
            "FLOWML_TRACKING_URI": proxy.address,
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
            "PREFECT_LOCAL_STORAGE_PATH": str(project / "results"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
        }
        yield Attempts(proxy, environment, project, request.node.name, MlflowClient(mlflow_server))


@pytest.mark.parametrize(
    "late", [[2], [1], *map(slow, [[1, 2], [2, 1], [1, 3], [3, 1], [1, 2, 3], [3, 2, 1]])], ids=str
)
def test_attempts_that_are_late(attempts: Attempts, late: Sequence[int]) -> None:
    """MLflow is gone during some: once all is sent, in any order, there is one run, as the last attempt ended it."""
    attempts.start(*late)
    attempts.sync(*(f"home-{number}" for number in late))
    assert differences(attempts.client, attempts.id) == []
    run = attempts.flow()
    assert (run.info.status, run.data.tags["prefect.state"], run.data.tags["flowml.attempt"]) == (
        *("FINISHED", "Completed"),
        "3",
    )
    assert errors_in(run.data.tags) == FAILED[1] | FAILED[2]
    assert files_of(attempts.client, run.info.run_id) >= {"attempt_1/traceback.txt", "attempt_2/traceback.txt"}
    metrics = run.data.metrics
    assert [metrics[key] for key in ("last", "part.attempt.mean", "part.attempt.max")] == [3, 2, 3]


@pytest.mark.parametrize("children", ["all", pytest.param("failed", marks=pytest.mark.slow)])
@pytest.mark.parametrize("late", [[1], slow([2]), slow([1, 2]), slow([2, 1])], ids=str)
def test_a_process_of_a_suspended_flow_that_is_late(
    attempts: Attempts, late: Sequence[int], children: Children
) -> None:
    """A flow that was suspended, and went on in another process, ends as that one did, whichever is sent first."""
    with get_client(sync_client=True) as prefect:
        deployment = prefect.create_deployment(prefect.create_flow(suspends), name="late")  # others cannot be suspended
        made = prefect.create_flow_run_from_deployment(deployment, state=Pending())
        for number in (1, 2):
            if number in late:
                attempts.proxy.fail_from(1, Fault("refuse"))
            ended = attempts.run(f"home-{number}", "tests.everywhere.attempted", str(made.id), CHILDREN=children)
            assert ended.returncode == 0, ended.stderr
            attempts.proxy.heal()
            if number == 1:
                assert prefect.read_flow_run(made.id).state_name == "Suspended"
                assert prefect.resume_flow_run(made.id).status.value == "ACCEPT"
    attempts.sync(*(f"home-{number}" for number in late))
    run = attempts.flow()
    assert (run.info.status, run.data.tags["prefect.state"]) == ("FINISHED", "Completed")
    assert [key for key in run.data.tags if key.startswith("flowml.closed")] == []
    metrics = run.data.metrics
    assert [metrics[key] for key in ("last", "part.attempt.max")] == [2, 2]


@pytest.mark.parametrize(
    "late, killed",
    [
        ([1], []),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ([[2], []], [[3, 1, 2], []], [[], [1]], [[1], [2]])),
    ],
    ids=str,
)
def test_attempts_whose_calls_are_summed_up(attempts: Attempts, late: Sequence[int], killed: Sequence[int]) -> None:
    """The run sums up the calls of each attempt, which have no runs, once, in whatever order they are sent."""
    attempts.start(*late, killed=killed, children="failed")
    attempts.sync(*(f"home-{number}" for number in dict.fromkeys([*late, *killed])))
    run = attempts.flow()
    assert (run.info.status, run.data.metrics["last"]) == ("FINISHED", 3)
    assert [run.data.metrics[f"part.{key}"] for key in ("count", "attempt.min", "attempt.mean", "attempt.max")] == [
        *(3, 1, 2, 3)
    ]
    table = attempts.client.download_artifacts(run.info.run_id, "children/part.csv", str(attempts.folder))
    assert sorted(line.split(",")[3] for line in Path(table).read_text().splitlines()[1:]) == ["1", "2", "3"]


@pytest.mark.slow
def test_attempts_that_are_sent_together(attempts: Attempts) -> None:
    """The same of three that one sync finds in one home."""
    attempts.start(1, 2, 3, home="home")
    attempts.sync("home")
    assert differences(attempts.client, attempts.id) == []
    run = attempts.flow()
    assert (run.info.status, run.data.tags["flowml.attempt"]) == ("FINISHED", "3")
    assert errors_in(run.data.tags) == FAILED[1] | FAILED[2]


@pytest.mark.slow
@pytest.mark.parametrize("late", [[], [1], [2], [1, 2]], ids=str)
@pytest.mark.parametrize("homes", [[1, 2], [2, 1]], ids=str)
def test_attempts_that_were_killed(attempts: Attempts, late: Sequence[int], homes: Sequence[int]) -> None:
    """The same of two that were killed: nothing tells of their end."""
    attempts.start(*late, killed=[1, 2])
    attempts.sync(*(f"home-{number}" for number in homes))
    run = attempts.flow()
    assert (run.info.status, run.data.tags["prefect.state"], run.data.tags["flowml.attempt"]) == (
        *("FINISHED", "Completed"),
        "3",
    )
    assert errors_in(run.data.tags) == {}
    assert run.data.metrics["last"] == 3
    parts = runs_of(attempts.client, "part")
    mine = [each for each in parts if parent_of(each) == run.info.run_id]
    assert sorted(each.data.metrics["attempt"] for each in mine) == [1, 2, 3]
