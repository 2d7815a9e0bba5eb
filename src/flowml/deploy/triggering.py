"""Starts a run of a deployment, and waits for runs to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from flowml.capture.engine.origin import BY
from flowml.capture.links import labels
from flowml.capture.links.urls import page_of
from flowml.deploy import api
from flowml.deploy import parameters as flow_parameters
from flowml.deploy.listing import is_ready
from flowml.ops.prefect_api import explained

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


@dataclass(frozen=True, slots=True)
class Started:
    """A run of a deployment.

    Attributes:
        id: Prefect's id of it.
        name: What it is called.
        state: The name of its state.
        is_over: Whether it has ended.
        is_good: Whether it has ended as it should.
        url: Its page in Prefect's UI.
        mlflow_url: The page of its run in MLflow's UI, once it is over and when there is one.
    """

    id: UUID
    name: str
    state: str
    is_over: bool
    is_good: bool
    url: str | None
    mlflow_url: str | None = None


def trigger(name: str, parameters: Iterable[str] = ()) -> Started:
    """Start a run of a deployment now.

    Args:
        name: The deployment, such as ``training/nightly``.
        parameters: Where its parameters differ, as ``name=value``.

    Returns:
        The run, as it is planned.

    Raises:
        DeploymentError: If there is no such deployment, or the parameters do not fit; nothing is started then.
        OrchestrationError: If Prefect's API cannot be asked.
    """
    with api.server() as client:
        full_name, deployment = api.named(client, name)
        schema = deployment.parameter_openapi_schema or {}
        values = flow_parameters.read(parameters, schema)
        flow_parameters.check_schema(schema, {**deployment.parameters, **values}, full_name, whole=True)
        with explained():
            run = client.create_flow_run_from_deployment(
                deployment.id, parameters=values, labels={BY: "flowml trigger"}
            )
        return as_started(run)


def watch(run_id: UUID, say: Callable[[Started], None]) -> Started:
    """Wait until a run has ended.

    Args:
        run_id: Which.
        say: Told of each new state.

    Returns:
        The run, as it ended.

    Raises:
        OrchestrationError: If Prefect's API cannot be asked.
    """
    before = None
    with api.server() as client:
        while True:
            with explained():
                run = as_started(client.read_flow_run(run_id))
            if run.state != before:
                say(run)
                before = run.state
            if run.is_over:
                return run
            time.sleep(1)


def as_started(run: FlowRun) -> Started:
    """Return what a run is, as people want to know it."""
    state = run.state
    is_over = bool(state and state.is_final())
    caller = labels.caller_in_api(run.id) if is_over else None  # a request, which no poll needs before
    return Started(
        id=run.id,
        name=run.name,
        state=str(state.name) if state else "Pending",
        is_over=is_over,
        is_good=bool(state and state.is_completed()),
        url=page_of("flow-run", run.id),
        mlflow_url=caller.run.url if caller and caller.run else None,
    )


@dataclass(frozen=True, slots=True)
class Turned:
    """A deployment whose schedules were paused or resumed.

    Attributes:
        name: Its full name.
        work_pool: Whose workers run it; None if a process serves it.
        is_ready: Whether a worker or a serving process has lately asked for its runs.
    """

    name: str
    work_pool: str | None
    is_ready: bool


def pause(name: str) -> Turned:
    """Let a deployment's schedules start no more runs; those that were planned are taken back.

    Args:
        name: The deployment, such as ``training/nightly``.

    Returns:
        Which it is.

    Raises:
        DeploymentError: If there is none.
        OrchestrationError: If Prefect's API cannot be asked.
    """
    return _turn(name, on=False)


def resume(name: str) -> Turned:
    """Let a deployment's schedules start runs again, from now on.

    Args:
        name: The deployment, such as ``training/nightly``.

    Returns:
        Which it is, and whether anybody is there to run it.

    Raises:
        DeploymentError: If there is none.
        OrchestrationError: If Prefect's API cannot be asked.
    """
    return _turn(name, on=True)


def _turn(name: str, *, on: bool) -> Turned:
    with api.server() as client:
        full_name, deployment = api.named(client, name)
        with explained():
            for schedule in deployment.schedules:
                client.update_deployment_schedule(deployment.id, schedule.id, active=on)
            if on:
                client.resume_deployment(deployment.id)
            else:
                client.pause_deployment(deployment.id)
    return Turned(full_name, deployment.work_pool_name, is_ready(deployment))
