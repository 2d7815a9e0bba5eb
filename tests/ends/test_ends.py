"""What MLflow says is what Prefect says, for each way in which a run can end."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import FlowRunSort

from tests.ends import flows
from tests.ends.compare import differences

pytestmark = [pytest.mark.e2e, pytest.mark.compat]

ENDS: list[Any] = [
    (flows.plain, {}),
    (flows.task_retries, {}),
    (flows.task_retries_later, {}),
    (flows.flow_retries, {}),
    (flows.caches, {"seed": 1}),
    (flows.times_out_in_tasks, {}),
    (flows.times_out_in_async_tasks, {}),
    (flows.times_out, {}),
    (flows.times_out_async, {}),
    (flows.returned_states, {}),
    (flows.returned_failures_and_caches, {"seed": 1}),
    (flows.returned_failure_is_retried, {}),
    (flows.returned_failure_is_retried_async, {}),
    (flows.returns_cancelled, {}),
    (flows.returns_failed_future, {}),
    (flows.result_not_kept, {}),
    (flows.upstream_failed, {}),
    (flows.upstream_of_a_flow_failed, {}),
    (flows.takes_a_number, {"number": "no number"}),
    (flows.takes_a_number_async, {"number": "no number"}),
    (flows.takes_anything, {"number": "no number"}),
    (flows.refused, {}),
    (flows.fails_before_the_body, {}),
    (flows.crashes_in_a_task, {}),
    (flows.crashes, {}),
    (flows.rolls_back, {}),
    (flows.outer, {}),
]


def latest(name: str) -> UUID:
    """Return the id of the newest run of a flow."""
    with get_client(sync_client=True) as prefect:
        found = prefect.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=20)
        flows_ = {run.flow_id: prefect.read_flow(run.flow_id).name for run in found}
    return next(run.id for run in found if flows_[run.flow_id] == name)


def call(flow: Any, **parameters: Any) -> UUID:
    """Run a flow, however it ends; return the id of its run."""
    try:
        done = flow(**parameters, return_state=True)
        if asyncio.iscoroutine(done):
            asyncio.run(done)
    except BaseException as error:
        if isinstance(error, pytest.fail.Exception):
            raise
    return latest(flow.name)


@pytest.mark.parametrize("flow, parameters", ENDS, ids=lambda value: getattr(value, "name", ""))
def test_mlflow_says_what_prefect_says(client: MlflowClient, flow: Any, parameters: dict[str, Any]) -> None:
    """Status, state, attempts, start and end of each flow run and task run are the same in both."""
    assert differences(client, call(flow, **parameters)) == []
