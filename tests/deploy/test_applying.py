"""What deploying again leaves as it is."""

from __future__ import annotations

from uuid import uuid4

from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse

from flowml import Cron, Deployment, Interval, flow
from flowml.deploy.applying import keep_what_is


@flow
def counting(rows: int = 1) -> int:
    """Be a flow of deployments."""
    return rows


def test_schedules_in_another_order_are_left_alone() -> None:
    """Prefect's server returns schedules in an order of its own: the same ones are not sent again."""
    made = Deployment(counting, "n", schedule=[Cron("0 2 * * *"), Interval("1h"), Cron("0 3 * * *")]).to_prefect()
    kept = [DeploymentSchedule(schedule=one.schedule, active=True) for one in reversed(made.schedules or [])]
    there = DeploymentResponse(id=uuid4(), name="n", flow_id=uuid4(), schedules=kept)
    keep_what_is(made, there, keep_paused=True)
    assert "schedules" not in made.model_fields_set
