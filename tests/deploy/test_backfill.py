"""What the runs of a backfill are given, against a real Prefect server; nothing is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.states import Completed, Failed

from flowml.deploy.backfill import backfill, plan
from flowml.deploy.schedules import Time
from flowml.deploy.triggering import Started

FLOW = """
from datetime import date
from flowml import Cron, Deployment, flow

@flow(name="{flow}")
def daily(region: str, logical_date: date | None = None) -> None: ...

zone = {{"timezone": "Europe/Berlin"}}
north = Cron("30 0 * * *", **zone, parameters={{"region": "north"}})
south = Cron("0 9 * * *", **zone, parameters={{"region": "south"}})
d = Deployment(daily, "daily", schedule=[north, south])

weekly, monthly = Cron("30 0 * * 4", **zone), Cron("30 0 1 * *", **zone)  # 1 January 2026 was a Thursday
west = Cron("30 0 * * *", **zone, parameters={{"region": "west"}})
m = Deployment(daily, "meeting", schedule=[north, weekly, monthly, west], parameters={{"region": "all"}})
"""


def test_a_run_has_its_schedules_day_and_parameters(
    project: Path, pool: str, own: str, run: Callable[..., str]
) -> None:
    """A time's run has the day of the schedule's clock and its parameters; one deleted in Prefect is not well."""
    (project / "daily.py").write_text(FLOW.format(flow=own))
    run("deploy", "daily.py", "--work-pool", pool)
    given: list[dict[str, Any]] = []

    def say(_: Time, now: Started) -> None:
        if not now.is_over:
            with get_client(sync_client=True) as prefect:
                given.append(prefect.read_flow_run(now.id).parameters)
                prefect.delete_flow_run(now.id)

    ended = backfill(plan(f"{own}/daily", "2026-01-02", "2026-01-02"), concurrency_limit=1, say=say)
    assert given == [{"region": region, "logical_date": "2026-01-02"} for region in ("north", "south")]
    assert [(one.state, one.is_good) for one in ended] == [("Deleted", False)] * 2


def test_schedules_that_meet_are_a_run_each_where_they_give_other_parameters(
    project: Path, pool: str, own: str, run: Callable[..., str]
) -> None:
    """Of schedules that meet, those with the same parameters are one run; what is done of one is not of another."""
    (project / "daily.py").write_text(FLOW.format(flow=own))
    run("deploy", "daily.py", "--work-pool", pool)
    period = (f"{own}/meeting", "2026-01-01", "2026-01-01")
    planned = run("backfill", period[0], "--from", period[1], "--to", period[2], "--dry-run")
    assert "has 3 scheduled times in that period: 3 to run" in planned
    assert '2026-01-01T00:30:00+01:00  {"region": "west"}' in planned

    def say(_: Time, now: Started) -> None:
        if not now.is_over:
            finish(now.id, "north")

    ended = backfill(plan(*period), concurrency_limit=3, say=say)
    assert [one.is_good for one in ended].count(True) == 1
    after = plan(*period)
    assert [one.parameters for one in after.done] == ['{"region": "north"}']
    assert sorted(after.tries.values()) == [1, 1]


def finish(run_id: UUID, good: str) -> None:
    """End a run as a worker would, well for one region and badly for the others."""
    with get_client(sync_client=True) as prefect:
        is_good = prefect.read_flow_run(run_id).parameters["region"] == good
        prefect.set_flow_run_state(run_id, Completed() if is_good else Failed(), force=True)
