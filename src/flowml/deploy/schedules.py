"""When a deployment runs: Prefect's own schedules, checked where they are written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from datetime import timezone as zones
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from flowml.errors import DeploymentError, nearest
from flowml.formats import seconds

if TYPE_CHECKING:
    from prefect.schedules import Schedule


_ANCHOR = datetime(2020, 1, 1, tzinfo=zones.utc)  # the same for ever: deployed again, it runs at the same times


def Cron(cron: str, /, *, timezone: str | None = None, **options: Any) -> Schedule:  # noqa: N802 - named as Prefect's
    """Run at the times of a cron expression.

    Args:
        cron: Minute, hour, day of month, month, day of week, such as ``"0 2 * * *"``.
        timezone: Whose clock is meant, such as ``"Europe/Berlin"``. Default: UTC.
        **options: Those of Prefect's own ``Cron``: ``day_or``, ``active``, ``parameters``, ``slug``.

    Returns:
        Prefect's schedule, good for ``flow.serve(schedule=...)`` too.

    Raises:
        DeploymentError: If the expression or the time zone makes no sense.

    Example:
        >>> Cron("0 2 * * *", timezone="Europe/Berlin").cron
        '0 2 * * *'
    """
    from prefect import schedules
    from prefect.client.schemas.schedules import CronSchedule

    _check_zone(timezone)
    try:
        CronSchedule(cron=cron)
    except ValueError:
        hint = "write minute, hour, day of month, month and day of week, such as '0 2 * * *' for two o'clock each night"
        msg = f"{cron!r} is no cron expression: {hint}."
        raise DeploymentError(msg) from None
    return schedules.Cron(cron, timezone=timezone, **options)


def Interval(  # noqa: N802 - named as Prefect's
    every: str | float | timedelta, /, *, anchor: datetime | None = None, timezone: str | None = None, **options: Any
) -> Schedule:
    """Run again and again after the same time.

    Args:
        every: Such as ``"15m"``, ``"2h"``, ``"1d"``, a ``timedelta``, or a number of seconds.
        anchor: A moment at which it runs, from which the others are counted. Default: midnight of 1 January 2020 in
            UTC, so that ``"15m"`` is at each full quarter of an hour.
        timezone: Whose days are meant, where the clocks change. Default: UTC.
        **options: Those of Prefect's own ``Interval``: ``active``, ``parameters``, ``slug``.

    Returns:
        Prefect's schedule.

    Raises:
        DeploymentError: If the interval or the time zone makes no sense.

    Example:
        >>> Interval("15m").interval
        datetime.timedelta(seconds=900)
    """
    from prefect import schedules

    _check_zone(timezone)
    try:
        length = every if isinstance(every, timedelta) else timedelta(seconds=seconds(str(every)))
    except ValueError as error:
        raise DeploymentError(str(error)) from None
    except OverflowError:
        length = timedelta.max
    if not timedelta(seconds=1) <= length <= timedelta(days=3660):
        msg = f"An interval of {every!r} cannot be: it is between a second and ten years, such as 15m."
        raise DeploymentError(msg)
    return schedules.Interval(length, anchor_date=anchor or _ANCHOR, timezone=timezone or "UTC", **options)


def RRule(rrule: str, /, *, timezone: str | None = None, **options: Any) -> Schedule:  # noqa: N802 - named as Prefect's
    """Run at the times of a calendar rule (RFC 5545).

    Args:
        rrule: Such as ``"FREQ=WEEKLY;BYDAY=MO,FR;BYHOUR=6"``.
        timezone: Whose clock is meant. Default: UTC.
        **options: Those of Prefect's own ``RRule``: ``active``, ``parameters``, ``slug``.

    Returns:
        Prefect's schedule.

    Raises:
        DeploymentError: If the rule or the time zone makes no sense.

    Example:
        >>> RRule("FREQ=WEEKLY;BYDAY=MO").rrule
        'FREQ=WEEKLY;BYDAY=MO'
    """
    from prefect import schedules
    from prefect.client.schemas.schedules import RRuleSchedule

    _check_zone(timezone)
    try:
        RRuleSchedule(rrule=rrule)
    except (ValueError, KeyError, AttributeError) as error:
        why = re.search(r"Invalid RRule string .*?: (.*?)(?: \[type=|$)", str(error), re.DOTALL)
        reason = f" ({why[1]})" if why else ""
        msg = f"{rrule!r} is no recurrence rule{reason}; write it as RFC 5545 does: 'FREQ=WEEKLY;BYDAY=MO,FR;BYHOUR=6'."
        raise DeploymentError(msg) from None
    return schedules.RRule(rrule, timezone=timezone or "UTC", **options)


def chosen(cron: str | None, interval: str | None, rrule: str | None, timezone: str | None) -> Schedule | None:
    """Return the schedule that the options of a command name; None if they name none.

    Raises:
        DeploymentError: If they name several, or one that makes no sense.
    """
    named = {"--cron": cron, "--interval": interval, "--rrule": rrule}
    options = [name for name, value in named.items() if value is not None]
    if len(options) > 1:
        msg = f"A deployment gets one schedule here, not {' and '.join(options)}; declare several in the flow's file."
        raise DeploymentError(msg)
    if timezone is not None and not options:
        msg = f"--timezone {timezone} needs --cron, --interval or --rrule: it says whose clock they mean."
        raise DeploymentError(msg)
    if cron is not None:
        return Cron(cron, timezone=timezone)
    if interval is not None:
        return Interval(interval, timezone=timezone)
    return RRule(rrule, timezone=timezone) if rrule is not None else None


def as_prefects(schedule: Any) -> Any:
    """Return a schedule as Prefect takes it for a deployment.

    Raises:
        DeploymentError: If it is none.
    """
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import is_schedule_type
    from prefect.schedules import Schedule

    if isinstance(schedule, DeploymentScheduleCreate):
        return schedule
    if isinstance(schedule, Schedule) and (schedule.cron or schedule.interval or schedule.rrule):
        _check_zone(schedule.timezone)
        return DeploymentScheduleCreate.from_schedule(schedule)
    if is_schedule_type(schedule):
        return DeploymentScheduleCreate(schedule=schedule)
    msg = f"schedule={schedule!r} cannot be: write Cron('0 2 * * *'), Interval('15m') or RRule('FREQ=WEEKLY')."
    raise DeploymentError(msg)


def _check_zone(timezone: str | None) -> None:
    from zoneinfo import available_timezones

    zones_here = available_timezones()
    if timezone is not None and timezone not in zones_here:
        msg = f"There is no time zone {timezone!r}{nearest(timezone, zones_here)}; write it as Europe/Berlin."
        raise DeploymentError(msg)


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
    schedule_of: dict[Time, Any] = {}
    for schedule in schedules:
        since, parameters = first, json.dumps(schedule.parameters or {}, sort_keys=True, default=str)
        while since <= last and (some := _some(schedule.schedule, since, last)):
            schedule_of = {**dict.fromkeys((Time(one, parameters) for one in some), schedule), **schedule_of}
            since = max(some) + _TICK
            if len(schedule_of) > _MOST:
                msg = f"There are more than {_MOST} scheduled times in that period; take a shorter one."
                raise DeploymentError(msg)
    return {time: schedule_of[time] for time in sorted(schedule_of)}


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
