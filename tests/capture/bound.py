"""A program that sends a flow to a process worker in a bundle: ``python bound.py``."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.flows import bind_flow_to_infrastructure
from prefect.workers.process import ProcessWorker

from flowml import Track, flow, task


@task
def double(number: int) -> int:
    """Be called there."""
    return number * 2


@flow(track=Track(tags={"team": "risk"}), persist_result=True)
def bound(number: int) -> int:
    """Be sent."""
    return double(number)


if __name__ == "__main__":
    with get_client(sync_client=True) as prefect:
        prefect.create_work_pool(WorkPoolCreate(name="processes", type="process"))
    future = bind_flow_to_infrastructure(bound, "processes", ProcessWorker).submit(number=4)
    future.wait(timeout=90)
    print(future.flow_run_id, future.state.name)  # noqa: T201 - read by the test
