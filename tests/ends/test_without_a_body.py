"""Runs that end before their body is called: they have what Prefect says of them, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterBindError, ParameterTypeError
from prefect.flow_engine import run_flow

from flowml import Track, flow
from tests.ends import flows
from tests.ends.compare import differences
from tests.runs import all_runs, parent_of, run_of, runs_of

pytestmark = pytest.mark.e2e


def test_a_flow_whose_parameters_are_refused_has_a_run_with_the_error(client: MlflowClient) -> None:
    """It failed with Prefect's error under the flow that called it; what it was given is not taken for parameters."""

    @flow
    def caller() -> None:
        flows.takes_a_number("no number", return_state=True)

    caller()
    refused = run_of(client, "takes-a-number")
    assert parent_of(refused) == run_of(client, "caller").info.run_id
    assert refused.info.status == "FAILED"
    assert refused.data.tags["flowml.error_type"] == "ParameterTypeError"
    assert "number: Input should be a valid integer" in refused.data.tags["flowml.error"]
    assert refused.data.params == {}


@pytest.mark.parametrize("called", [flows.takes_a_number, flows.takes_anything], ids=lambda called: called.name)
def test_a_deployments_run_with_wrong_parameters_has_a_failed_run(client: MlflowClient, called: Any) -> None:
    """A run that Prefect's API has with wrong parameters is failed in MLflow too, validated or not."""
    with get_client(sync_client=True) as prefect:
        made = prefect.create_flow_run(called, parameters={"number": "no number"})
    with suppress(ParameterTypeError, TypeError):
        run_flow(called, flow_run=made)
    assert differences(client, made.id) == []
    (run,) = all_runs(client)
    assert (run.info.status, run.info.run_name) == ("FAILED", made.name)


def test_a_call_that_prefect_refuses_before_there_is_a_run_leaves_none(client: MlflowClient) -> None:
    """A wrong call of a flow or task raises Prefect's error, and there is no run."""
    for wrong in (lambda: flows.plain(1), flows.takes_a_number, flows.add_one, lambda: flows.add_one(1, other=2)):
        with pytest.raises(ParameterBindError):
            wrong()
    assert all_runs(client) == []


@pytest.mark.parametrize("options", [{"track": False}, {"track": Track(run="skip")}], ids=str)
def test_what_is_not_tracked_has_no_run_either_way(client: MlflowClient, options: dict[str, Any]) -> None:
    """Without tracking a refused flow run stays Prefect's alone."""
    state = flow(**options)(flows.takes_a_number.fn)("no number", return_state=True)
    assert isinstance(state, State)
    assert state.is_failed()
    assert all_runs(client) == []


def test_attempts_that_end_before_the_body_are_within_their_own_time(client: MlflowClient) -> None:
    """Each attempt at a task whose transaction cannot begin has its run, and one begins after the other's end."""

    @flow
    def locks() -> None:
        flows.cannot_be_locked(1, return_state=True)

    locks()
    first, second = sorted(runs_of(client, "cannot_be_locked"), key=lambda run: run.data.tags["flowml.attempt"])
    assert first.data.tags["flowml.next_run_id"] == second.info.run_id
    times = [first.info.start_time, first.info.end_time, second.info.start_time, second.info.end_time]
    assert times == sorted(times)
    assert {run.info.status for run in (first, second)} == {"FAILED"}
