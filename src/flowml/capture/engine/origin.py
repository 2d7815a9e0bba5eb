"""Why a flow run is, and when it should have been: what a deployment's runs carry into MLflow."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from prefect.client.orchestration import get_client

from flowml import records
from flowml.capture.links.urls import page_of
from flowml.formats import interval

if TYPE_CHECKING:
    from prefect.client.schemas.objects import DeploymentSchedule, FlowRun

BY = "flowml.triggered_by"  # labels that flowml's own commands give to the runs that they start
LOGICAL_DATE = "flowml.logical_date"
SCHEDULING_DELAY = "flowml.scheduling_delay"


def known(run: FlowRun, started: int, *, goes_on: bool) -> list[records.Record]:
    """Return what a deployment's run itself says: when it was planned, how late it is, for which time it is.

    Args:
        run: The flow run.
        started: When this attempt began, in milliseconds since 1970.
        goes_on: Whether an earlier attempt has said how late it was.
    """
    if run.deployment_id is None:
        return []
    found: list[records.Record] = []
    if url := page_of("deployment", run.deployment_id):
        found.append(records.Tag("prefect.deployment_url", url))
    planned = run.expected_start_time
    if planned is not None and not goes_on:
        begun = datetime.fromtimestamp(started / 1000, timezone.utc)
        found += [
            records.Tag("prefect.scheduled_time", _written(planned)),
            records.Tag("prefect.start_time", _written(begun)),
            records.Metric(SCHEDULING_DELAY, (begun - planned).total_seconds()),
        ]
    if date := logical_date(run):
        found += [records.Param(LOGICAL_DATE, date), records.Tag(LOGICAL_DATE, date)]
    return found


def logical_date(run: FlowRun) -> str | None:
    """Return the scheduled time that a run is for: of a backfill that which it makes up for."""
    date = run.labels.get(LOGICAL_DATE)
    if date is not None:
        return str(date)
    return _written(run.expected_start_time) if run.auto_scheduled and run.expected_start_time else None


def facts_from_api(run: FlowRun, flow_name: str) -> list[records.Record]:
    """Ask Prefect's API for the rest: the deployment's name and schedule, and who started the run.

    Raises:
        Exception: What Prefect's client raises.
    """
    if run.deployment_id is None:
        return []
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment(run.deployment_id)
        by = _by(run) or _by_hand(client, run)
    tags = {"prefect.deployment_name": f"{flow_name}/{deployment.name}", BY: by}
    if schedule := _schedule(run, deployment.schedules):
        tags["prefect.schedule"] = schedule
    if run.created_by and run.created_by.type == "AUTOMATION":
        tags["prefect.automation"] = str(run.created_by.display_value or run.created_by.id)
    return [records.Tag(key, value) for key, value in tags.items()]


def _by(run: FlowRun) -> str | None:
    if starter := run.labels.get(BY):
        return str(starter)
    kind = run.created_by.type if run.created_by else None
    if run.auto_scheduled or kind == "SCHEDULE":
        return "schedule"
    if kind == "AUTOMATION":
        return "event"
    return "parent flow" if run.parent_task_run_id else None


def _by_hand(client: Any, run: FlowRun) -> str:
    """Tell a person from a program: Prefect's UI says so in the first state of the runs that it starts."""
    first = min(client.read_flow_run_states(run.id), key=lambda state: state.timestamp, default=None)
    return "UI" if first is not None and "Prefect UI" in (first.message or "") else "API"


def _schedule(run: FlowRun, schedules: list[DeploymentSchedule]) -> str | None:
    """Say when the deployment runs; of several schedules the one that planned this run."""
    own = [one for one in schedules if run.created_by and one.id == run.created_by.id]
    return "; ".join(in_words(one.schedule) for one in own or schedules) or None


def in_words(schedule: Any) -> str:
    """Say when a schedule runs, in one line; of Prefect's schedules, those in code and those of its API."""
    zone = getattr(schedule, "timezone", None)
    where = f" ({zone})" if zone and zone != "UTC" else ""
    length = getattr(schedule, "interval", None)
    if length is not None:
        return f"every {interval(length.total_seconds())}{where}"
    return f"{getattr(schedule, 'cron', None) or rule(getattr(schedule, 'rrule', ''))}{where}"


def rule(rrule: str) -> str:
    """Return a recurrence rule without the beginning that Prefect's server writes before it."""
    return " ".join(line for line in rrule.splitlines() if line != "DTSTART:20200101T000000")


def _written(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat()
