"""What the runs of a backfill are given, against a real Prefect server; nothing is run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client

from flowml.deploy.backfill import backfill, plan
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
"""


def test_a_run_has_its_schedules_day_and_parameters(
    project: Path, pool: str, own: str, run: Callable[..., str]
) -> None:
    """A time's run has the day of the schedule's clock and its parameters; one deleted in Prefect is not well."""
    (project / "daily.py").write_text(FLOW.format(flow=own))
    run("deploy", "daily.py", "--work-pool", pool)
    given: list[dict[str, Any]] = []

    def say(_: datetime, now: Started) -> None:
        if not now.is_over:
            with get_client(sync_client=True) as prefect:
                given.append(prefect.read_flow_run(now.id).parameters)
                prefect.delete_flow_run(now.id)

    ended = backfill(plan(f"{own}/daily", "2026-01-02", "2026-01-02"), concurrency_limit=1, say=say)
    assert given == [{"region": region, "logical_date": "2026-01-02"} for region in ("north", "south")]
    assert [(one.state, one.is_good) for one in ended] == [("Deleted", False)] * 2
