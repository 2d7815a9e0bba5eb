"""The times of a schedule that lie in a period."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from flowml.errors import DeploymentError

_MOST = 10_000
_TICK = timedelta(microseconds=1)


def period(start: str, end: str, zone: str | None) -> tuple[datetime, datetime]:
    """Read a period as typed: days or moments, by the clock of a time zone where they name none.

    Raises:
        DeploymentError: If one cannot be read, or the end is before the start.

    Example:
        >>> period("2026-01-01", "2026-01-05T12:00", None)[1].isoformat()
        '2026-01-05T12:00:00+00:00'
    """
    clock = ZoneInfo(zone or "UTC")
    first, last = _moment(start, clock, "--from"), _moment(end, clock, "--to")
    if re.fullmatch(r"\d{4}-\d\d-\d\d", end.strip()):
        last += timedelta(days=1) - _TICK
    if last < first:
        msg = f"The period from {start} to {end} cannot be: it ends before it begins."
        raise DeploymentError(msg)
    if first > datetime.now(timezone.utc):
        msg = f"The period from {start} to {end} is still to come: its runs are the schedule's."
        raise DeploymentError(msg)
    return first, last


class Time(NamedTuple):
    """A time at which a deployment is to run.

    Attributes:
        moment: When, in UTC.
        parameters: What its schedule gives the run, as JSON: two schedules that meet are two runs if they give others.
    """

    moment: datetime
    parameters: str = "{}"


def between(schedules: Iterable[Any], first: datetime, last: datetime) -> dict[Time, Any]:
    """Return the times of a deployment's schedules from one moment to another, in order; as Prefect plans them.

    Each has the schedule that it is of, the first one if it is of several.

    Raises:
        DeploymentError: If there are too many.
    """
    found: dict[Time, Any] = {}
    for schedule in schedules:
        since, given = first, json.dumps(schedule.parameters or {}, sort_keys=True, default=str)
        while since <= last and (some := _some(schedule.schedule, since, last)):
            found = {**dict.fromkeys((Time(one, given) for one in some), schedule), **found}
            since = max(some) + _TICK
            if len(found) > _MOST:
                msg = f"There are more than {_MOST} scheduled times in that period; take a shorter one."
                raise DeploymentError(msg)
    return {time: found[time] for time in sorted(found)}


def _some(schedule: Any, first: datetime, last: datetime) -> list[datetime]:
    from prefect.server.schemas import schedules as servers
    from prefect.utilities.asyncutils import run_coro_as_sync

    kind = getattr(servers, type(schedule).__name__)
    planner = kind(**schedule.model_dump())
    dates: Any = run_coro_as_sync(planner.get_dates(n=500, start=first, end=last)) or []
    return [datetime.fromtimestamp(one.timestamp(), timezone.utc) for one in dates]


def by_its_clock(moment: datetime, schedule: Any) -> datetime:
    """Return a moment in the time zone of a schedule: its day there may be another than in UTC."""
    return moment.astimezone(ZoneInfo(getattr(schedule, "timezone", None) or "UTC"))


def _moment(text: str, clock: ZoneInfo, option: str) -> datetime:
    try:
        read = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))
    except ValueError:
        msg = f"{option} {text} cannot be read: write a day or a moment, such as 2026-01-31 or 2026-01-31T06:00."
        raise DeploymentError(msg) from None
    return read if read.tzinfo else read.replace(tzinfo=clock)
