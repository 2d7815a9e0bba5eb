"""The deployments that there are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flowml.capture.engine.origin import in_words
from flowml.capture.links.urls import page_of
from flowml.deploy import api
from flowml.ops.prefect_api import PAGE, explained

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse


@dataclass(frozen=True, slots=True)
class Row:
    """One deployment, as a list shows it.

    Attributes:
        name: Its full name.
        schedules: When it runs, in words.
        is_paused: Whether its schedules start no runs.
        next_run: When the next run is planned.
        work_pool: Whose workers run it; None if a process serves it.
        is_ready: Whether a worker or a serving process has lately asked for its runs.
        entrypoint: The flow's file and name.
        tags: Its tags.
        url: Its page in Prefect's UI.
    """

    name: str
    schedules: list[str]
    is_paused: bool
    next_run: datetime | None
    work_pool: str | None
    is_ready: bool
    entrypoint: str | None
    tags: list[str]
    url: str | None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "name": self.name,
            "schedules": self.schedules,
            "paused": self.is_paused,
            "next_run": self.next_run.isoformat() if self.next_run else None,
            "work_pool": self.work_pool,
            "ready": self.is_ready,
            "entrypoint": self.entrypoint,
            "tags": self.tags,
            "url": self.url,
        }


def deployments() -> list[Row]:
    """Return all deployments, by name.

    Raises:
        OrchestrationError: If Prefect's API cannot be asked.
    """
    with api.server() as client:
        there = api.every(client)
        planned = _next_runs(client, [one.id for one in there.values()])
        return [_row(name, one, planned.get(one.id)) for name, one in sorted(there.items())]


def is_ready(one: DeploymentResponse) -> bool:
    """Tell whether a worker or a serving process has lately asked for a deployment's runs."""
    status: Any = one.status
    return bool(getattr(status, "value", status) == "READY")


def _row(name: str, one: DeploymentResponse, planned: datetime | None) -> Row:
    return Row(
        name=name,
        schedules=[in_words(schedule.schedule) for schedule in one.schedules],
        is_paused=one.paused or (bool(one.schedules) and not any(schedule.active for schedule in one.schedules)),
        next_run=planned,
        work_pool=one.work_pool_name,
        is_ready=is_ready(one),
        entrypoint=one.entrypoint,
        tags=list(one.tags),
        url=page_of("deployment", one.id),
    )


def _next_runs(client: SyncPrefectClient, ids: list[UUID]) -> dict[UUID, datetime]:
    """Return when the next run of each is planned; one that plans very many does not hide the others."""
    found: dict[UUID, datetime] = {}
    while left := [one for one in ids if one not in found]:
        runs = _planned(client, left)
        for run in runs:
            if run.deployment_id and run.next_scheduled_start_time:
                found.setdefault(run.deployment_id, run.next_scheduled_start_time)
        if len(runs) < PAGE or found.keys().isdisjoint(left):
            break
    return found


def _planned(client: SyncPrefectClient, ids: list[UUID]) -> list[FlowRun]:
    """Return the earliest runs that are planned."""
    from prefect.client.schemas import filters, sorting
    from prefect.client.schemas.objects import StateType

    mine = filters.FlowRunFilter(
        deployment_id=filters.FlowRunFilterDeploymentId(any_=ids),
        state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
    )
    with explained():
        return client.read_flow_runs(
            flow_run_filter=mine, sort=sorting.FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC, limit=PAGE
        )
