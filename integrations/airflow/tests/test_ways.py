"""Tasks end as their flows end, and all three say the same: under a real scheduler."""

from __future__ import annotations

from three import Airflow, Servers


def test_a_flow_that_completes(airflow: Airflow, servers: Servers) -> None:
    """X."""
    run = airflow.trigger("failing")
    print(airflow.wait("failing", run))
    print(airflow.tasks("failing", run))
    print(airflow.links("failing", run, "fail"))
    print(airflow.log("failing", "fail"))
