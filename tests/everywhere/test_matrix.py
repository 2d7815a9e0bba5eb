"""Each way to run a task × each store: every run right, and nothing else there."""

from __future__ import annotations

import mlflow
import pytest
from tests.everywhere.stores import Store, expect
from tests.everywhere.ways import WAYS, Way

STORES = ("sqlite", "http")


def rows() -> list[object]:
    """Return each way on each store; those that take long only for `make test-all`."""
    return [
        pytest.param(store, way, id=f"{way.name}-{store}", marks=[pytest.mark.slow] if store in way.slow else [])
        for store in STORES
        for way in WAYS
    ]


@pytest.mark.e2e
@pytest.mark.filterwarnings("ignore:Logger 'prefect.task_runs' attempted to send logs")  # Prefect's, in user's threads
@pytest.mark.parametrize(("store", "way"), rows(), indirect=["store"])
def test_every_way_is_right(request: pytest.FixtureRequest, store: Store, way: Way) -> None:
    """Each attempt has one run with just its own content under its caller's, and nothing else is anywhere."""
    for fixture in way.needs:
        request.getfixturevalue(fixture)
    way.run(way.jobs)
    assert mlflow.active_run() is None
    expect(store, way.tree(way.jobs))
