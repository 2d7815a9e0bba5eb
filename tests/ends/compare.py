"""Prefect's truth beside MLflow's: each run that Prefect knows, with what MLflow says of it."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any
from uuid import UUID

from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, TaskRun

from tests.runs import all_runs, parent_of

STATUS = {"COMPLETED": "FINISHED", "FAILED": "FAILED", "CRASHED": "FAILED", "CANCELLED": "KILLED", "PENDING": "KILLED"}
STATUS["SCHEDULED"] = "RUNNING"  # whoever runs what is scheduled will try it again


def differences(client: MlflowClient, flow_run_id: UUID) -> list[str]:
    """Compare a flow run, its task runs and its subflows with their runs in MLflow; say what differs.

    Prefect's server writes down what it heard of task runs once a second: until then it may give an earlier state.
    """
    runs, end = all_runs(client), time.monotonic() + 20
    while (found := _differences_by_now(runs, flow_run_id)) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def _differences_by_now(runs: list[Run], flow_run_id: UUID) -> list[str]:
    found, compared = [], set()
    with get_client(sync_client=True) as prefect:
        for flow_run in _flow_runs(prefect, flow_run_id):
            mine = [run for run in runs if _is(run, "flow", "prefect.flow_run_id", flow_run.id)]
            found += _differences(flow_run, mine[-1:], attempts=1) if len(mine) == 1 else [f"{len(mine)} flow runs"]
            if mine and mine[0].data.tags["flowml.attempt"] != str(flow_run.run_count):
                found.append(f"{flow_run.name}: attempt {mine[0].data.tags['flowml.attempt']} of {flow_run.run_count}")
            compared |= {run.info.run_id for run in mine}
            for task_run in _task_runs(prefect, flow_run, subflows=False):
                mine = [run for run in runs if _is(run, "task", "prefect.task_run_id", task_run.id)]
                mine.sort(key=lambda run: int(run.data.tags["flowml.attempt"]))
                found += _differences(task_run, mine, attempts=max(task_run.run_count, 1))
                compared |= {run.info.run_id for run in mine}
    left = [
        run for run in runs if run.info.status == "RUNNING" and run.data.tags.get("prefect.state") != "AwaitingRetry"
    ]
    below = [run for run in runs if parent_of(run) in compared and "flowml.kind" in run.data.tags]
    alone = [run for run in below if run.info.run_id not in compared]
    return [
        *found,
        *(f"{run.info.run_name} is open" for run in left),
        *(f"{run.info.run_name} is MLflow's alone" for run in alone),
    ]


def _is(run: Run, kind: str, tag: str, value: UUID) -> bool:
    return run.data.tags.get("flowml.kind") == kind and run.data.tags.get(tag) == str(value)


def _differences(truth: FlowRun | TaskRun, runs: list[Run], attempts: int) -> list[str]:
    if len(runs) != attempts or truth.state is None:
        return [f"{truth.name}: {attempts} attempts, {len(runs)} runs"]
    ended = runs if STATUS[truth.state.type.value] != "RUNNING" else runs[:-1]
    if any(run.info.end_time is None for run in ended):
        return [f"{truth.name} is open"]
    expected: list[tuple[str, Any, Any]] = []
    for number, run in enumerate(runs[:-1], start=1):
        tags = run.data.tags
        expected += [
            (f"attempt {number}", tags["flowml.attempt"], str(number)),
            ("status of an attempt before the last", run.info.status, "FAILED"),
            ("superseded", tags.get("flowml.superseded"), "true"),
            ("next attempt", tags.get("flowml.next_run_id"), runs[number].info.run_id),
            ("attempt before", runs[number].data.tags.get("flowml.previous_run_id"), run.info.run_id),
        ]
    last = runs[-1]
    expected += [("ends before it begins", run.info.end_time < run.info.start_time, False) for run in ended]
    expected += [
        ("status", last.info.status, STATUS[truth.state.type.value]),
        ("state", last.data.tags.get("prefect.state"), truth.state.name),
        ("superseded", last.data.tags.get("flowml.superseded"), None),
        ("begins", _near(runs[0].info.start_time, truth.start_time), True),
    ]
    if last.info.status != "RUNNING":
        expected.append(("ends", _near(last.info.end_time, truth.end_time or truth.state.timestamp), True))
    return [f"{truth.name}: {what} is {is_} for {should}" for what, is_, should in expected if is_ != should]


def _near(milliseconds: int, moment: datetime | None) -> bool:
    return moment is None or abs(milliseconds / 1000 - moment.timestamp()) < 1


def _flow_runs(prefect: SyncPrefectClient, flow_run_id: UUID) -> list[FlowRun]:
    found = prefect.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])))
    for stand_in in _task_runs(prefect, found[0], subflows=True):
        found += _flow_runs(prefect, _subflow(stand_in))
    return found


def _task_runs(prefect: SyncPrefectClient, flow_run: FlowRun, *, subflows: bool) -> list[TaskRun]:
    """Return the task runs that stand for subflows, or the others."""
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
    return [run for run in prefect.read_task_runs(flow_run_filter=mine) if bool(_subflow(run)) == subflows]


def _subflow(stand_in: TaskRun) -> Any:
    return stand_in.state.state_details.child_flow_run_id if stand_in.state else None
