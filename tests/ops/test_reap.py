"""``flowml reap``: open runs against what Prefect says, what processes there are, and what is above them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from uuid import UUID, uuid4

import prefect
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Cancelling, Completed, Crashed, Failed, Paused, Running
from tests.runs import all_runs

from flowml import ops, process
from flowml.capture.engine.attempt import api
from flowml.cli import app

HOUR = 3_600_000
HERE = process.in_tags(process.tags())


def tagged(**other: object) -> Mapping[str, str]:
    """Return the tag of this process, but for what is given."""
    return {process.TAG: json.dumps(asdict(HERE) | other)}


GONE = tagged(started="before")  # this process's number, of one that began earlier


@prefect.flow
def known_to_prefect() -> None:
    """Exist."""


def prefects_flow_run(state: State) -> str:
    """Let Prefect know a flow run in a state, and return its id."""
    with get_client(sync_client=True) as prefects:
        created = prefects.create_flow_run(known_to_prefect, state=Running())
        prefects.set_flow_run_state(created.id, state, force=True)
    return str(created.id)


def prefects_task_run(flow_run_id: str, state: State) -> str:
    """Let Prefect know a task run in a state, and return its id."""
    with get_client(sync_client=True) as prefects:
        created = prefects.create_task_run(
            prefect.task(lambda: None), UUID(flow_run_id), dynamic_key=str(uuid4()), name="known", state=state
        )
    return str(created.id)


def open_run(client: MlflowClient, tags: Mapping[str, str], *, under: Run | None = None, hours: float = 2) -> Run:
    """Open a run as flowml does, some time ago, and leave it open."""
    tags = {"prefect.api": api(), **tags}
    if under:
        tags["mlflow.parentRunId"] = under.info.run_id
    started = int(time.time() * 1000 - hours * HOUR)
    return client.create_run("0", start_time=started, tags=tags, run_name=uuid4().hex)


def a_flows(client: MlflowClient, flow_run_id: str, **tags: str) -> Run:
    """Open the run of a flow run."""
    more = {name.replace("__", "."): value for name, value in tags.items()}
    return open_run(client, {"flowml.kind": "flow", "prefect.flow_run_id": flow_run_id, **GONE_ELSEWHERE, **more})


GONE_ELSEWHERE = tagged(started="before", machine="another")


def status(client: MlflowClient, run: Run) -> str:
    """Return what a run's status is by now."""
    return str(client.get_run(run.info.run_id).info.status)


@pytest.mark.parametrize(
    "state, expected",
    [
        (Completed(), "FINISHED"),
        (Failed(), "FAILED"),
        (Failed(name="TimedOut"), "FAILED"),
        (Crashed(), "FAILED"),
        (Cancelled(), "KILLED"),
        (Running(), "RUNNING"),
        (Cancelling(), "RUNNING"),
        (Paused(), "RUNNING"),
    ],
    ids=lambda value: value.name if isinstance(value, State) else value,
)
def test_a_run_ends_as_prefect_says(client: MlflowClient, state: State, expected: str) -> None:
    """What has ended in Prefect is closed, with status, end, the state's name, why and when; the rest is left."""
    run = a_flows(client, flow_run_id := prefects_flow_run(state))
    report = ops.reap_runs(grace=0)
    assert status(client, run) == expected
    assert len(report.closed) + report.open == 1
    if expected != "RUNNING":
        closed = client.get_run(run.info.run_id)
        with get_client(sync_client=True) as prefects:
            ended = prefects.read_flow_run(UUID(flow_run_id)).end_time
        assert ended is not None
        assert closed.info.end_time == pytest.approx(ended.timestamp() * 1000, abs=1)
        assert closed.data.tags["prefect.state"] == state.name
        assert closed.data.tags["flowml.closed"] == f"Prefect says {state.name}"
        assert closed.data.tags["flowml.closed_at"].endswith("+00:00")


def test_what_prefect_does_not_know_any_more_is_closed(client: MlflowClient) -> None:
    """The run of a flow run that was deleted in Prefect is killed, and so is that of a task run."""
    runs = [
        a_flows(client, str(uuid4())),
        open_run(client, {"flowml.kind": "task", "prefect.task_run_id": str(uuid4())}),
    ]
    ops.reap_runs()
    assert [status(client, run) for run in runs] == ["KILLED", "KILLED"]


def test_foreign_runs_and_those_of_another_prefect_are_left(client: MlflowClient) -> None:
    """A run without a Prefect id is not touched, nor one whose ids another Prefect knows; that one is named."""
    foreign = open_run(client, {})
    odd = open_run(client, {"prefect.flow_run_id": "mine"})
    others = a_flows(client, str(uuid4()), prefect__api="http://elsewhere:4200/api")
    report = ops.reap_runs(grace=0)
    assert [status(client, run) for run in (foreign, odd, others)] == ["RUNNING"] * 3
    assert client.get_run(foreign.info.run_id).data.tags.keys() == foreign.data.tags.keys()
    assert report.summary == (
        "0 closed, 1 of Prefect's runs stay open: 1 unknown here, known to Prefect at http://elsewhere:4200/api."
    )


def test_what_ended_a_moment_ago_has_time_to_close_itself(client: MlflowClient) -> None:
    """Within the grace time nothing is closed."""
    run = a_flows(client, prefects_flow_run(Completed()))
    assert ops.reap_runs(grace=60).in_grace == 1
    assert status(client, run) == "RUNNING"


def test_only_what_is_old_enough_is_looked_at(client: MlflowClient) -> None:
    """With ``--older-than`` a run that began later is left."""
    flow_run_id = prefects_flow_run(Failed())
    young, old = (open_run(client, {"prefect.flow_run_id": flow_run_id}, hours=hours) for hours in (1, 3))
    ops.reap_runs(grace=0, older_than=2 * 3600)
    assert (status(client, young), status(client, old)) == ("RUNNING", "FAILED")


def test_an_earlier_attempt_failed(client: MlflowClient) -> None:
    """Of a task run that completed at its second attempt, the first attempt's run is failed, with what is below it."""
    flow_run_id = prefects_flow_run(Completed())
    task_run_id = prefects_task_run(flow_run_id, Running())
    with get_client(sync_client=True) as prefects:
        for state in (Running(), Completed()):
            prefects.set_task_run_state(UUID(task_run_id), state, force=True)
        attempts = prefects.read_task_run(UUID(task_run_id)).run_count
    assert attempts == 2
    root = a_flows(client, flow_run_id)
    ids = {"prefect.flow_run_id": flow_run_id, "prefect.task_run_id": task_run_id}
    first, second = (
        open_run(client, {**ids, "flowml.kind": "task", "flowml.attempt": number}, under=root) for number in "12"
    )
    by_hand = open_run(client, ids, under=first)
    ops.reap_runs(grace=0)
    assert [status(client, run) for run in (root, first, second, by_hand)] == [
        "FINISHED",
        "FAILED",
        "FINISHED",
        "FAILED",
    ]
    superseded = [client.get_run(run.info.run_id).data.tags.get("flowml.superseded") for run in (first, second)]
    assert superseded == ["true", None]


@pytest.mark.parametrize("is_closed", [True, False])
def test_the_attempt_that_a_killed_process_did_not_send(client: MlflowClient, *, is_closed: bool) -> None:
    """Of a task run that completed at its second attempt only the first is in MLflow: the second is added, once."""
    flow_run_id = prefects_flow_run(Running())
    task_run_id = prefects_task_run(flow_run_id, Running())
    with get_client(sync_client=True) as prefects:
        for state in (Running(), Completed()):
            prefects.set_task_run_state(UUID(task_run_id), state, force=True)
    root = open_run(client, {"flowml.kind": "flow", "prefect.flow_run_id": flow_run_id, **GONE})
    ids = {"prefect.flow_run_id": flow_run_id, "prefect.task_run_id": task_run_id}
    first = open_run(client, {**ids, "flowml.kind": "task", "flowml.attempt": "1"}, under=root)
    if is_closed:
        client.set_terminated(first.info.run_id, "FAILED")
    for _ in range(2):
        ops.reap_runs(grace=0)
    of_task = [run for run in all_runs(client) if run.data.tags.get("prefect.task_run_id") == task_run_id]
    earlier, last = sorted(of_task, key=lambda run: run.data.tags["flowml.attempt"])
    assert (earlier.info.run_id, earlier.info.status) == (first.info.run_id, "FAILED")
    assert (last.info.status, last.data.tags["flowml.attempt"], last.data.tags["prefect.state"]) == (
        "FINISHED",
        "2",
        "Completed",
    )
    assert last.data.tags["mlflow.parentRunId"] == root.info.run_id
    assert "before it sent this attempt" in last.data.tags["flowml.closed"]
    assert earlier.data.tags["flowml.next_run_id"] == last.info.run_id
    assert last.data.tags["flowml.previous_run_id"] == earlier.info.run_id


def test_a_task_ends_with_its_flow(client: MlflowClient) -> None:
    """A task run that Prefect takes for running in a flow run that crashed is failed: Prefect never ends it."""
    flow_run_id = prefects_flow_run(Crashed())
    root = a_flows(client, flow_run_id)
    ids = {"prefect.flow_run_id": flow_run_id, "flowml.kind": "task"}
    task = open_run(client, {**ids, "prefect.task_run_id": prefects_task_run(flow_run_id, Running())}, under=root)
    unheard = open_run(client, {**ids, "prefect.task_run_id": str(uuid4())}, under=task)
    ops.reap_runs(grace=0)
    assert [status(client, run) for run in (root, task, unheard)] == ["FAILED"] * 3
    assert "had ended (Crashed)" in client.get_run(task.info.run_id).data.tags["flowml.closed"]


def test_a_process_that_is_gone(client: MlflowClient) -> None:
    """A flow that Prefect takes for running is failed if its process has ended, with the tasks that ran in it."""
    code = "import json; from flowml import process; print(json.dumps(process.tags()))"
    tags = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    ended = process.in_tags(tags)
    flow_run_id = prefects_flow_run(Running())
    root = open_run(client, {"flowml.kind": "flow", "prefect.flow_run_id": flow_run_id, **tags})
    ids = {"prefect.flow_run_id": flow_run_id, "prefect.task_run_id": prefects_task_run(flow_run_id, Running())}
    task = open_run(client, {**ids, "flowml.kind": "task"}, under=root)
    by_hand = open_run(client, ids, under=task)
    ops.reap_runs(grace=0)
    assert [status(client, run) for run in (root, task, by_hand)] == ["FAILED"] * 3
    why = client.get_run(root.info.run_id).data.tags["flowml.closed"]
    assert why == f"its process {ended.pid} on {ended.host} is gone while Prefect says Running"


@pytest.mark.parametrize(
    "tags, expected",
    [(process.tags(), "RUNNING"), (GONE, "FAILED"), (GONE_ELSEWHERE, "RUNNING")],
    ids=["alive", "number reused", "another machine"],
)
def test_which_process_it_was(client: MlflowClient, tags: Mapping[str, str], expected: str) -> None:
    """A process is known by its machine, number and start: another with its number does not stand for it."""
    run = open_run(client, {"flowml.kind": "flow", "prefect.flow_run_id": prefects_flow_run(Running()), **tags})
    ops.reap_runs(grace=0)
    assert status(client, run) == expected


def test_a_flow_that_waits_to_be_resumed_needs_no_process(client: MlflowClient) -> None:
    """A suspended flow run has no process, and stays open."""
    run = open_run(client, {"flowml.kind": "flow", "prefect.flow_run_id": prefects_flow_run(Paused()), **GONE})
    ops.reap_runs(grace=0)
    assert status(client, run) == "RUNNING"


def test_a_task_in_another_process_is_judged_by_its_own(client: MlflowClient) -> None:
    """When a flow's process is gone, a task's run in a worker process that is alive stays open."""
    flow_run_id = prefects_flow_run(Running())
    root = open_run(client, {"flowml.kind": "flow", "prefect.flow_run_id": flow_run_id, **GONE})
    ids = {"prefect.flow_run_id": flow_run_id, "prefect.task_run_id": prefects_task_run(flow_run_id, Running())}
    task = open_run(client, {**ids, "flowml.kind": "task", **process.tags()}, under=root)
    ops.reap_runs(grace=0)
    assert (status(client, root), status(client, task)) == ("FAILED", "RUNNING")


@pytest.mark.parametrize("deferred", [True, False], ids=["left to a task worker", "on a cluster"])
def test_a_background_task_outlives_its_flow(client: MlflowClient, *, deferred: bool) -> None:
    """A flow's end closes the runs of its tasks on a cluster's machines, but not of those left to a task worker."""
    flow_run_id = prefects_flow_run(Completed())
    root = a_flows(client, flow_run_id)
    state = Running()
    state.state_details.deferred = deferred
    ids = {"prefect.flow_run_id": flow_run_id, "prefect.task_run_id": prefects_task_run(flow_run_id, state)}
    task = open_run(
        client, {**ids, "flowml.kind": "task", **tagged(started="before", machine="another", pid=7)}, under=root
    )
    ops.reap_runs(grace=0)
    assert status(client, root) == "FINISHED"
    assert status(client, task) == ("RUNNING" if deferred else "FAILED")


def test_a_dry_run_changes_nothing(client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    """``--dry-run`` prints each run with the reason and leaves it; then the same is closed, and then nothing."""
    run = a_flows(client, prefects_flow_run(Cancelled()), prefect__flow_run_name="dancing-otter")
    line = f"{run.info.run_id}\t{run.info.run_name}\tdancing-otter\tKILLED\tPrefect says Cancelled\n"
    reap("--grace", "0s", "--dry-run")
    assert status(client, run) == "RUNNING"
    assert capsys.readouterr().out == f"{line}1 would be closed, 0 of Prefect's runs stay open.\n"
    reap("--grace", "0s")
    assert capsys.readouterr().out == f"{line}1 closed, 0 of Prefect's runs stay open.\n"
    reap("--grace", "0s", "--json")
    assert json.loads(capsys.readouterr().out) == {
        "dry_run": False,
        "closed": [],
        "open": {"running": 0, "in_grace": 0, "strangers": {}},
    }


def reap(*options: str) -> None:
    """Run ``flowml reap`` in this process."""
    app.app(["reap", *options], result_action="return_value")


def test_without_prefect_nothing_is_closed(client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    """When Prefect's API cannot be reached, the command says so and exits with 2."""
    run = a_flows(client, prefects_flow_run(Completed()))
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), pytest.raises(SystemExit) as ended:
        reap("--grace", "0s")
    assert ended.value.code == 2
    assert "flowml: Prefect's API at http://127.0.0.1:9/api cannot be asked: ConnectError" in capsys.readouterr().err
    assert status(client, run) == "RUNNING"


@pytest.mark.parametrize("option", ["--grace", "--older-than"])
def test_a_wrong_duration_is_explained(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no duration exits with 2 and says what is."""
    with pytest.raises(SystemExit) as ended:
        app.app(["reap", option, "soon"])
    assert ended.value.code == 2
    assert "'soon' is no duration" in capsys.readouterr().err


def test_reaping_is_a_flow_without_a_run(client: MlflowClient) -> None:
    """``flowml.ops.reap`` does the same as a Prefect flow, returns the report, and leaves no run of its own."""
    run = a_flows(client, prefects_flow_run(Completed()))
    assert isinstance(ops.reap, prefect.Flow)
    told = ops.reap(grace=0)
    assert [closed["run_id"] for closed in told["closed"]] == [run.info.run_id]
    assert [run.info.status for run in all_runs(client)] == ["FINISHED"]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="compares with /proc")
def test_a_process_is_also_told_without_proc() -> None:
    """Where there is no /proc, a process is known by psutil, and one that has ended is not."""
    began = process._began_elsewhere(os.getpid())
    assert began == process._began_elsewhere(os.getpid())
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody asked how
        assert process._began_elsewhere(child.pid) is None
        assert process.began(child.pid) is None
    assert process._began_elsewhere(child.pid) is None


def test_a_task_that_prefect_has_not_heard_of_is_waited_for(client: MlflowClient) -> None:
    """When a task on its own is killed, Prefect's server is given time to hear what it had reported before."""
    task_run_id = str(uuid4())
    run = open_run(client, {"flowml.kind": "task", "prefect.task_run_id": task_run_id, **GONE})

    def report_late() -> None:
        with get_client(sync_client=True) as prefects:
            prefects.create_task_run(
                prefect.task(lambda: None), None, str(uuid4()), id=UUID(task_run_id), state=Completed()
            )

    late = threading.Timer(0.5, report_late)
    late.start()
    ops.reap_runs(grace=4)
    late.join()
    assert status(client, run) == "FINISHED"
