"""An MLflow server that did what it was asked, and whose answer was lost."""

from __future__ import annotations

import mlflow
import pytest
from mlflow import MlflowClient

import flowml
from flowml import flow, task
from tests.conformance.proxy import Fault, Proxy
from tests.ends.processes import until

pytestmark = pytest.mark.e2e


@pytest.mark.usefixtures("project", "prefect_server")
def test_a_run_that_was_created_unknown_to_flowml_has_what_came_since(
    mlflow_server: str, request: pytest.FixtureRequest
) -> None:
    """A task that ends before its run is found again is told of there as of any other: with its state, once."""
    name = request.node.name
    with Proxy(mlflow_server) as proxy:
        mlflow.set_tracking_uri(proxy.address)
        mlflow.set_experiment(name)

        @task
        def lose(number: int) -> int:
            until(lambda: len(proxy.failed) > 1, "the run was created, and not found")
            return number

        @flow
        def losing() -> int:
            flowml.flush()
            created = len(proxy.requests) + 1
            proxy.fail_at(created, Fault("lose answer"))
            proxy.fail_at(created + 1, Fault("status"))  # of looking for it
            return lose(7)

        assert losing() == 7
        asked = [each.path.rpartition("/")[2].partition("?")[0] for each in proxy.requests]
        numbers = [number for number, _ in proxy.failed]
        assert [asked[number - 1] for number in numbers] == ["create", "search"]
    client = MlflowClient(mlflow_server)
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    assert sorted(run.data.tags["flowml.kind"] for run in runs) == ["flow", "task"]
    assert [run.data.tags.get("prefect.state") for run in runs] == ["Completed", "Completed"]
