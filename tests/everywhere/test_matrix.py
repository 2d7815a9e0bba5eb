"""Each way to run a task on each store: every run right, and nothing else there."""

from __future__ import annotations

import mlflow
import pytest

from tests.everywhere.probe import Depth, Job
from tests.everywhere.stores import Store, expect
from tests.everywhere.ways import WAYS, Way

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings(
        "ignore:Logger 'prefect.task_runs' attempted to send logs"
    ),  # Prefect's, in user's threads
]

SLOW = [pytest.mark.slow, pytest.mark.timeout(300)]
STORES = ("sqlite", "http")


def rows() -> list[object]:
    """Return each way on each store; those that take long, and those with a server, for `make test-all`."""
    return [
        pytest.param(store, way, id=f"{way.name}-{store}", marks=SLOW if way.slow or store == "http" else [])
        for store in STORES
        for way in WAYS
    ]


@pytest.mark.parametrize("store, way", rows(), indirect=["store"])
def test_every_way_is_right(request: pytest.FixtureRequest, store: Store, way: Way) -> None:
    """Each attempt has one run with just its own content under its caller's, and nothing else is anywhere."""
    for fixture in way.needs:
        request.getfixturevalue(fixture)
    way.run(way.jobs)
    assert mlflow.active_run() is None
    expect(store, way.tree(way.jobs))


IN_A_USERS_RUN = [
    pytest.param(way, id=way.name, marks=[] if way.name == "direct" else SLOW)
    for way in WAYS
    if way.name in {"direct", "async_submitted", "process_pool", "user_threads"}
]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("way", IN_A_USERS_RUN)
def test_a_flow_called_in_a_users_run_is_under_it(store: Store, way: Way) -> None:
    """A flow called inside ``mlflow.start_run()`` is under that run, its tasks under the flow; the run stays active."""
    jobs = [Job(number, Depth.AUTOMATIC) for number in (1, 2, 3)]
    with mlflow.start_run() as mine:
        mlflow.log_param("before", 1)
        way.run(jobs)
        active = mlflow.active_run()
        assert active is not None
        assert active.info.run_id == mine.info.run_id
        mlflow.log_param("after", 2)
    assert mlflow.active_run() is None
    assert store.client.get_run(mine.info.run_id).data.params == {"before": "1", "after": "2"}
    active_in_tasks = None if way.name == "process_pool" else mine.info.run_id  # a run is active in its own process
    expect(store, way.tree(jobs), above=mine, active=active_in_tasks)
