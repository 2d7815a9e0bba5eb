"""Closes the runs that nobody is left to close: their process is gone."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

from flowml import mlflow_limits, process, records
from flowml.store import tracing
from flowml.store.backend import notifications
from flowml.store.backend.paging import paged

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_CLOSED, _CLOSED_AT = "flowml.closed", "flowml.closed_at"
STOPPING = "Stopping"
"""The state of a flow that was told to stop, until it is known what became of it."""


@dataclass(frozen=True, slots=True)
class End:
    """How a run ends that cannot say so itself.

    Attributes:
        status: The status it gets.
        state: The orchestrator's name for it.
        ended: When, in milliseconds since 1970.
        reason: Why flowml closes it, for the tag ``flowml.closed``; ``flowml.closed_at`` says when.
    """

    status: records.Status
    state: str
    ended: int
    reason: str


def close_with_those_below(client: MlflowClient, run: records.CurrentRun, end: End) -> None:
    """Close a run and what is open below it.

    Runs of flows that were started by a deployment of their own live in other processes, and are left alone.
    """
    left = _with_those_below(run.run_id, _open_runs(client, run))
    top = client.get_run(run.run_id)
    if top.data.tags.get("prefect.state") == STOPPING:
        left.append(top)
    for each in left:
        _close(client, each, end)


def close_lost_tasks(
    client: MlflowClient, run: records.CurrentRun, *, has_failed: bool, ended: int, at_work: Collection[str] = ()
) -> None:
    """Close what a flow's tasks left open when their worker died, once the flow has ended.

    A task of a flow that failed is lost, one that was run again elsewhere, and one whose process is known to be gone.
    Another may be a background task, which goes on without its flow. Those ``at_work`` in this process are left.
    """
    for each in _open_runs(client, run):
        task_run_id = each.data.tags.get("prefect.task_run_id")
        if not task_run_id or each.info.run_id in at_work:
            continue
        was_run_again = _was_run_again(client, each, task_run_id)
        if has_failed or was_run_again or process.is_gone(each.data.tags):
            if was_run_again:
                client.set_tag(each.info.run_id, "flowml.superseded", "true")
            _close(client, each, End("KILLED", "Lost", ended, "its worker was gone when the flow ended"))


def take_back(client: MlflowClient, run_id: str) -> None:
    """Take back what somebody said who closed a run for its process: that tells now how it ended."""
    tags = client.get_run(run_id).data.tags
    for key in (_CLOSED, _CLOSED_AT):
        if key in tags:
            client.delete_tag(run_id, key)


def _open_runs(client: MlflowClient, run: records.CurrentRun) -> list[Run]:
    mine = f"tags.`flowml.root_run_id` = '{run.root_run_id}' and attributes.status = 'RUNNING'"
    return list(paged(partial(client.search_runs, [run.experiment_id], mine, max_results=mlflow_limits.PAGE)))


def _with_those_below(run_id: str, open_runs: Iterable[Run]) -> list[Run]:
    by_id = {run.info.run_id: run for run in open_runs}
    top = by_id.get(run_id)
    deployment_id = top.data.tags.get("prefect.deployment_id") if top else None

    def is_below(run: Run | None) -> bool:
        if run is None or run.data.tags.get("prefect.deployment_id") != deployment_id:
            return False
        parent_id = run.data.tags.get("mlflow.parentRunId")
        return parent_id == run_id or is_below(by_id.get(parent_id) if parent_id else None)

    return [run for run in by_id.values() if run.info.run_id == run_id or is_below(run)]


def _was_run_again(client: MlflowClient, run: Run, task_run_id: str) -> bool:
    same = f"tags.`prefect.task_run_id` = '{task_run_id}' and tags.`flowml.kind` = 'task'"
    found = client.search_runs([run.info.experiment_id], f"{same} and attributes.status != 'RUNNING'", max_results=1)
    return bool(found) and found[0].info.run_id != run.info.run_id


def _close(client: MlflowClient, run: Run, end: End) -> None:
    from mlflow.entities import RunTag

    at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    tags = {"prefect.state": end.state, _CLOSED: end.reason, _CLOSED_AT: at}
    client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    tracing.end_left_open(client, run, end.status, state=end.state, ended=end.ended, why=f"closed {end.reason}")
    client.set_terminated(run.info.run_id, status=end.status, end_time=end.ended)
    notifications.notify_closed(client, run, end.status)
