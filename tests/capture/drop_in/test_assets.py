"""Tasks that materialize assets: what Prefect's API comes to know of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.assets import Asset, AssetProperties, add_asset_metadata
from prefect.events import Event, emit_event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter, EventRelatedFilter
from tests.capture.drop_in.sides import Side, listening, observe, plain
from tests.runs import runs_of

FEATURES = Asset(key="s3://lake/features", properties=AssetProperties(name="features", owners=["data"]))
END = "test.end"


def of_assets(side: Side) -> Any:
    """Materialize one asset and two, from another, with metadata; fail to."""

    @side.materialize(FEATURES, by="pandas", retries=1)
    def features(rows: int) -> int:
        add_asset_metadata(FEATURES, {"rows": rows})
        return rows

    @side.materialize("s3://lake/model", "s3://lake/scores", asset_deps=["postgres://shop/orders"])
    async def model(rows: int) -> int:
        return rows * 2

    @side.materialize("s3://lake/never")
    def failing() -> None:
        raise ValueError("no")

    @side.flow
    def pipeline() -> Any:
        rows = features.submit(3)
        states = [model.submit(rows, return_state=True), failing(return_state=True)]
        states.append(failing.with_options(assets=["s3://lake/other"], retries=1)(return_state=True))
        emit_event(END, resource={"prefect.resource.id": "test.end"})
        return plain(states)

    return pipeline()


async def events_of(flow_run_id: str) -> list[Event]:
    """Wait until Prefect's server has all asset events of a flow run; they come in the order they were sent in."""
    wanted = EventFilter(
        event=EventNameFilter(prefix=["prefect.asset.", END]),
        related=EventRelatedFilter(id=[f"prefect.flow-run.{flow_run_id}"]),
    )
    found: list[Event] = []
    async with get_events_subscriber(wanted) as subscriber:
        async for event in subscriber:
            if event.event == END:
                break
            found.append(event)
    return found


def assets_of(side: Side) -> list[Any]:
    """Return what the asset events of the scenario hold, in a fixed order."""
    with listening() as records:
        observe(of_assets, side, ordered=False)
    (flow_run_id,) = {record.flow_run_id for record in records if getattr(record, "flow_run_id", None)}
    events = asyncio.run(asyncio.wait_for(events_of(flow_run_id), 60))
    return sorted(
        [
            event.event,
            dict(event.resource),
            sorted(
                (related.role, related.get("prefect.resource.name"), related.id.partition(".")[2].partition(".")[0])
                for related in event.related
                if related.role not in {"flow-run", "task-run"}
            ),
            event.payload,
        ]
        for event in events
    )


@pytest.mark.slow
def test_assets_are_known_as_with_prefect(client: MlflowClient, every_side: dict[str, Side]) -> None:
    """The events of materialized and referenced assets, with their properties and metadata, are the same."""
    expected = assets_of(every_side["prefect"])
    names = {event[0].removeprefix("prefect.asset.") for event in expected}
    assert names == {"referenced", "materialization.succeeded", "materialization.failed"}
    assert assets_of(every_side["tracked"]) == expected
    assert assets_of(every_side["disabled"]) == expected
    assert len(runs_of(client, "model")) == 1
