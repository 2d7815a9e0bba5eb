"""Runs a deployment for times of its schedule that have passed: one run for each.

A time is done when a run for it has completed, by a backfill or by the schedule itself; one whose runs have failed is
run again. What is done is in Prefect, so a second call, or one after an interruption, goes on where the first ended.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flowml.capture.engine.origin import BY, LOGICAL_DATE
from flowml.deploy import api
from flowml.deploy import parameters as flow_parameters
from flowml.deploy.schedules import Time, between, by_its_clock, period
from flowml.deploy.triggering import Started, as_started
from flowml.describe.text import fingerprint
from flowml.errors import DeploymentError
from flowml.ops.prefect_api import PAGE, explained, flow_runs

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import DeploymentSchedule, FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

TAG = "flowml.backfill"


@dataclass(slots=True)
class Plan:
    """What a backfill would do.

    Attributes:
        name: The deployment's full name.
        deployment: As Prefect has it.
        schedules: The scheduled times, in order, each with the schedule that it is of.
        done: Those that are done, or that the schedule's own run is at work on.
        under_way: The runs of an earlier backfill that have not ended, by their times.
        tries: How many runs for each time have ended otherwise than well.
    """

    name: str
    deployment: DeploymentResponse
    schedules: dict[Time, DeploymentSchedule]
    done: set[Time] = field(default_factory=set)
    under_way: dict[Time, UUID] = field(default_factory=dict)
    tries: Counter[Time] = field(default_factory=Counter)

    @property
    def times(self) -> list[Time]:
        """The scheduled times, in order."""
        return list(self.schedules)

    @property
    def left(self) -> list[Time]:
        """The times that are to be run, or are under way."""
        return [one for one in self.times if one not in self.done]


def plan(name: str, start: str, end: str) -> Plan:
    """Find what a backfill has to do.

    Args:
        name: The deployment, such as ``training/nightly``.
        start: The first day or moment, such as ``2026-01-01`` or ``2026-01-01T12:00``; by the schedule's clock.
        end: The last one; a day is meant to its end.

    Returns:
        The times of its schedule, and which are done.

    Raises:
        DeploymentError: If there is no such deployment, it has no schedule, or the period cannot be.
        OrchestrationError: If Prefect's API cannot be asked.
    """
    now = datetime.now(timezone.utc)
    with api.server() as client:
        full_name, deployment = api.named(client, name)
        if not deployment.schedules:
            msg = f"{full_name} has no schedule, so there is nothing to say for which times it runs."
            raise DeploymentError(msg)
        schema = deployment.parameter_openapi_schema or {}
        for one in deployment.schedules:
            flow_parameters.check_schema(
                schema, {**deployment.parameters, **_handed(schema, one, now)}, full_name, whole=True
            )
        first, last = period(start, end, getattr(deployment.schedules[0].schedule, "timezone", None))
        made = Plan(full_name, deployment, between(deployment.schedules, first, min(last, now)))
        if made.times:
            _note_runs(client, made)
        return made


def backfill(plan: Plan, *, concurrency_limit: int, say: Callable[[Time, Started], None]) -> list[Started]:
    """Run what is left of a plan, and wait until all has ended.

    Args:
        plan: The plan.
        concurrency_limit: How many runs there may be at once.
        say: Told of each new state of a run, with its time.

    Returns:
        The runs as they ended.

    Raises:
        OrchestrationError: If Prefect's API cannot be asked.
    """
    waiting = deque(one for one in plan.left if one not in plan.under_way)
    running = {run_id: one for one, run_id in plan.under_way.items()}
    states: dict[UUID, str] = {}
    ended: list[Started] = []
    with api.server() as client:
        while waiting or running:
            while waiting and len(running) < concurrency_limit:
                scheduled = waiting.popleft()
                running[_start(client, plan, scheduled)] = scheduled
            for now in _as_started(client, list(running)):
                if states.get(now.id) != now.state:
                    states[now.id] = now.state
                    say(running[now.id], now)
                if now.is_over:
                    ended.append(now)
                    del running[now.id]
            if waiting or running:
                time.sleep(0.5)
    return ended


def _start(client: SyncPrefectClient, plan: Plan, scheduled: Time) -> UUID:
    moment, parameters = scheduled
    written = moment.isoformat()
    with explained():
        run = client.create_flow_run_from_deployment(
            plan.deployment.id,
            parameters=_handed(plan.deployment.parameter_openapi_schema or {}, plan.schedules[scheduled], moment),
            tags=[TAG, f"{LOGICAL_DATE}:{written}"],
            labels={BY: "backfill", LOGICAL_DATE: written},
            # Two backfills at the same time start one run.
            idempotency_key=f"{TAG} {plan.deployment.id} {written} {plan.tries[scheduled]} {fingerprint(parameters)}",
        )
    return run.id


def _handed(schema: flow_parameters.Schema, schedule: DeploymentSchedule, moment: datetime) -> dict[str, Any]:
    """Return a schedule's own parameters, and that which a flow may have for the time, as a day if it takes days."""
    own = dict(schedule.parameters or {})
    wanted = schema.get("properties", {}).get("logical_date")
    if wanted is None:
        return own
    moment = by_its_clock(moment, schedule.schedule)
    formats = {one.get("format") for one in (wanted, *wanted.get("anyOf", ()))}
    takes_days = "date" in formats and "date-time" not in formats
    return {**own, "logical_date": moment.date().isoformat() if takes_days else moment.isoformat()}


def _note_runs(client: SyncPrefectClient, plan: Plan) -> None:
    from prefect.client.schemas import filters

    mine = filters.FlowRunFilterDeploymentId(any_=[plan.deployment.id])
    tagged = filters.FlowRunFilter(deployment_id=mine, tags=filters.FlowRunFilterTags(all_=[TAG]))
    by_moment: defaultdict[datetime | None, list[Time]] = defaultdict(list)
    for one in plan.times:
        by_moment[one.moment].append(one)
    for run in _all(client, tagged):
        if scheduled := _meant(run, by_moment[_moment(run.labels.get(LOGICAL_DATE))], plan):
            _note(plan, scheduled, run)
    window = filters.FlowRunFilterExpectedStartTime(after_=plan.times[0].moment, before_=plan.times[-1].moment)
    for run in _all(client, filters.FlowRunFilter(deployment_id=mine, expected_start_time=window)):
        scheduled = _meant(run, by_moment[run.expected_start_time], plan)
        if run.auto_scheduled and scheduled and _is_well(run):
            plan.done.add(scheduled)


def _meant(run: FlowRun, meeting: list[Time], plan: Plan) -> Time | None:
    """Return which of the times of one moment a run is for: where schedules meet, that whose parameters it has."""
    if len(meeting) <= 1:
        return next(iter(meeting), None)
    own_parameters = {one: plan.schedules[one].parameters or {} for one in meeting}
    differing = {name for own in own_parameters.values() for name in own}

    def has(own: dict[str, Any]) -> bool:
        expected = {**plan.deployment.parameters, **own}
        return all(run.parameters.get(name) == expected.get(name) for name in differing)

    return next((one for one, own in own_parameters.items() if has(own)), None)


def _note(plan: Plan, scheduled: Time, run: FlowRun) -> None:
    if run.state is not None and run.state.is_completed():
        plan.done.add(scheduled)
    elif run.state is not None and run.state.is_final():
        plan.tries[scheduled] += 1
    else:
        plan.under_way[scheduled] = run.id


def _is_well(run: FlowRun) -> bool:
    return run.state is not None and (run.state.is_completed() or not run.state.is_final())


def _moment(text: Any) -> datetime:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.min.replace(tzinfo=timezone.utc)


def _as_started(client: SyncPrefectClient, ids: list[UUID]) -> Iterator[Started]:
    """Return what runs are; one that somebody has deleted in Prefect is over, and not well."""
    there = {run.id: as_started(run) for run in flow_runs(client, ids)}
    for one in ids:
        gone = Started(one, name=str(one), state="Deleted", is_over=True, is_good=False, url=None)
        yield there.get(one, gone)


def _all(client: SyncPrefectClient, chosen: Any) -> Iterator[FlowRun]:
    from prefect.client.schemas.sorting import FlowRunSort

    offset = 0
    while True:
        with explained():
            page = client.read_flow_runs(
                flow_run_filter=chosen, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=PAGE, offset=offset
            )
        yield from page
        if len(page) < PAGE:
            return
        offset += PAGE
