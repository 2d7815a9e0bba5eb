"""What the MLflow run of a deployment's flow run says of where it comes from."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.flow_engine import run_flow
from prefect.states import Scheduled
from tests.runs import run_of

from flowml import Cron, Deployment, Flow, flow, task
from flowml.deploy.applying import apply

Create = Callable[[SyncPrefectClient, str], FlowRun]


@task
def double(number: int) -> int:
    """Be a task of the flow."""
    return 2 * number


@flow
def deployed_flow(number: int = 1) -> int:
    """Be the flow of a deployment."""
    return double(number)


def made(flow: Flow[..., Any]) -> str:
    """Deploy it with a schedule; returns the id."""
    return apply(Deployment(flow, "nightly", schedule=Cron("0 2 * * *", timezone="Europe/Berlin")).to_prefect())


def by_api(client: SyncPrefectClient, deployment_id: str) -> FlowRun:
    """Start a run as any program does."""
    return client.create_flow_run_from_deployment(deployment_id)  # type: ignore[arg-type]


def by_ui(client: SyncPrefectClient, deployment_id: str) -> FlowRun:
    """Start a run as Prefect's UI does."""
    state = Scheduled(message="Run from the Prefect UI with defaults")
    return client.create_flow_run_from_deployment(deployment_id, state=state)  # type: ignore[arg-type]


def by_automation(client: SyncPrefectClient, deployment_id: str) -> FlowRun:
    """Start a run as an automation of Prefect's does."""
    headers = {"prefect-automation-id": str(uuid4()), "prefect-automation-name": b64encode(b"on promotion").decode()}
    sent = client._client.post(f"/deployments/{deployment_id}/create_flow_run", json={}, headers=headers)
    return client.read_flow_run(sent.json()["id"])


def by_parent(_: SyncPrefectClient, __: str) -> FlowRun:
    """Start a run from another flow."""

    @flow
    def parent() -> FlowRun:
        return run_deployment("deployed-flow/nightly", timeout=0)

    return parent()


def ran(client: MlflowClient, create: Create) -> Run:
    """Deploy the flow, start a run of it and run it here; returns its MLflow run."""
    with get_client(sync_client=True) as prefect:
        flow_run = create(prefect, made(deployed_flow))
        flow_run = prefect.read_flow_run(flow_run.id)
    run_flow(deployed_flow, flow_run=flow_run)
    return run_of(client, "deployed-flow")


@pytest.mark.parametrize(
    "create, by", [(by_api, "API"), (by_ui, "UI"), (by_automation, "event"), (by_parent, "parent flow")]
)
def test_a_run_says_who_started_it(client: MlflowClient, create: Create, by: str) -> None:
    """A person, a program, an automation and a parent flow are told apart; deployment and schedule are named."""
    tags = ran(client, create).data.tags
    assert tags["flowml.triggered_by"] == by
    assert tags["prefect.deployment_name"] == "deployed-flow/nightly"
    assert tags["prefect.schedule"] == "0 2 * * * (Europe/Berlin)"
    assert tags.get("prefect.automation") == ("on promotion" if by == "event" else None)
    assert "flowml.logical_date" not in tags
    assert run_of(client, "double").data.tags["prefect.deployment_id"] == tags["prefect.deployment_id"]


def test_a_run_says_how_late_it_is(client: MlflowClient) -> None:
    """The metric is the time from when it was to start to when it did, which both are tags."""

    def an_hour_ago(prefect: SyncPrefectClient, deployment_id: str) -> FlowRun:
        state = Scheduled(scheduled_time=datetime.now(timezone.utc) - timedelta(hours=1))
        return prefect.create_flow_run_from_deployment(deployment_id, state=state)  # type: ignore[arg-type]

    run = ran(client, an_hour_ago)
    assert 3600 <= run.data.metrics["flowml.scheduling_delay"] < 3660
    planned, begun = (datetime.fromisoformat(run.data.tags[f"prefect.{name}_time"]) for name in ("scheduled", "start"))
    assert (begun - planned).total_seconds() == pytest.approx(run.data.metrics["flowml.scheduling_delay"])


def test_a_flow_that_is_called_says_nothing_of_it(client: MlflowClient) -> None:
    """A flow that is no deployment's has none of this, and asks Prefect's API nothing."""
    deployed_flow()
    run = run_of(client, "deployed-flow")
    assert not {"prefect.deployment_name", "flowml.triggered_by", "prefect.scheduled_time"} & set(run.data.tags)
    assert "flowml.scheduling_delay" not in run.data.metrics
