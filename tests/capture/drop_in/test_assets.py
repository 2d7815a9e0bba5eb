"""The events of flows, tasks and materialized assets that Prefect sends to its API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlflow import MlflowClient
from prefect.assets import Asset, AssetProperties, add_asset_metadata
from prefect.events import Event
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker
from tests.capture.drop_in.sides import Side, observe, plain
from tests.runs import runs_of

FEATURES = Asset(key="s3://lake/features", properties=AssetProperties(name="features", owners=["data"]))


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
        rows.wait()
        states = [model.submit(rows, return_state=True), failing(return_state=True)]
        states.append(failing.with_options(assets=["s3://lake/other"], retries=1)(return_state=True))
        return plain(states)

    return pipeline()


@contextmanager
def sending() -> Iterator[list[Event]]:
    """Collect the events that are sent to Prefect's API meanwhile, instead of sending them."""
    events: list[Event] = []
    AssertingEventsClient.reset()
    EventsWorker.set_client_override(AssertingEventsClient)
    try:
        yield events
        EventsWorker.instance().drain()
    finally:
        EventsWorker.set_client_override(None)
    events += [event for client in AssertingEventsClient.all for event in client.events]


def events_of(side: Side) -> list[Any]:
    """Return what the events of the scenario say, without ids and times."""
    with sending() as events:
        observe(of_assets, side)
    return [told(event) for event in events if not event.event.startswith("flowml.")]


def told(event: Event) -> Any:
    """Return what an event says; of a task run's, what it says of the task run."""
    if event.event.startswith("prefect.asset."):
        related = sorted((one.role, one.get("prefect.resource.name") or one.id) for one in event.related)
        kept = [one for one in related if one[0] not in {"flow-run", "task-run"}]
        return [event.event, dict(event.resource), kept, event.payload]
    payload = event.payload.get("task_run", {})
    labels = sorted(set(payload.get("labels", {})) - {"flowml.run"})
    state = event.payload.get("validated_state", {})
    counts = [payload.get(name) for name in ("run_count", "flow_run_run_count", "task_key", "empirical_policy")]
    return [event.event, state, counts, labels, sorted(payload.get("task_inputs", {})), sorted(payload.get("tags", []))]


def test_prefect_is_sent_the_same_events(client: MlflowClient, every_side: dict[str, Side]) -> None:
    """Each task run's states, and each materialized and referenced asset with its properties and metadata."""
    expected = events_of(every_side["prefect"])
    names = {event[0].removeprefix("prefect.asset.") for event in expected if event[0].startswith("prefect.asset.")}
    assert names == {"referenced", "materialization.succeeded", "materialization.failed"}
    assert events_of(every_side["tracked"]) == expected
    assert events_of(every_side["disabled"]) == expected
    assert len(runs_of(client, "model")) == 1
