"""A flow that Prefect binds to infrastructure: it is pickled into a bundle, and tracked where that is run."""

from __future__ import annotations

import cloudpickle
from mlflow import MlflowClient
from prefect.flow_engine import run_flow
from prefect.flows import bind_flow_to_infrastructure
from prefect.workers.process import ProcessWorker
from tests.runs import run_of

from flowml import Track, flow


def test_its_pickle_is_tracked(client: MlflowClient) -> None:
    """Prefect's engine tracks a bound flow that was pickled, with the flow's own options."""

    @flow(track=Track(tags={"team": "risk"}))
    def sent(number: int) -> int:
        return number

    bound = bind_flow_to_infrastructure(sent, "processes", ProcessWorker)
    arrived = cloudpickle.loads(cloudpickle.dumps(bound))
    assert type(arrived) is type(bound)
    assert run_flow(arrived, parameters={"number": 4}) == 4
    run = run_of(client, "sent")
    assert (run.data.params, run.data.tags["team"]) == ({"number": "4"}, "risk")
