"""When a deployment runs: Prefect's own schedules, checked where they are written."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from datetime import timezone as zones
from typing import TYPE_CHECKING, Any

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
        told = "write minute, hour, day of month, month and day of week, such as '0 2 * * *' for two o'clock each night"
        msg = f"{cron!r} is no cron expression: {told}."
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
        told = f" ({why[1]})" if why else ""
        msg = f"{rrule!r} is no recurrence rule{told}; write it as RFC 5545 does: 'FREQ=WEEKLY;BYDAY=MO,FR;BYHOUR=6'."
        raise DeploymentError(msg) from None
    return schedules.RRule(rrule, timezone=timezone or "UTC", **options)


def chosen(cron: str | None, interval: str | None, rrule: str | None, timezone: str | None) -> Schedule | None:
    """Return the schedule that the options of a command name; None if they name none.

    Raises:
        DeploymentError: If they name several, or one that makes no sense.
    """
    named = {"--cron": cron, "--interval": interval, "--rrule": rrule}
    given = [name for name, value in named.items() if value is not None]
    if len(given) > 1:
        msg = f"A deployment gets one schedule here, not {' and '.join(given)}; declare several in the flow's file."
        raise DeploymentError(msg)
    if timezone is not None and not given:
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
