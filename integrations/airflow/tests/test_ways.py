"""Tasks end as their flows end, and all three say the same: under a real scheduler."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest
from three import IS_3, Airflow, Servers, until

PREFECT, MLFLOW = "Flow run in Prefect", "Run in MLflow"


class Ways:
    """One DAG run, as the three tell of it."""

    def __init__(self, airflow: Airflow, servers: Servers, dag: str) -> None:
        self.airflow, self.servers, self.dag = airflow, servers, dag
        self.run = airflow.trigger(dag)

    def ended(self) -> str:
        """Wait for its end, and return its state."""
        return self.airflow.wait(self.dag, self.run)

    def states(self) -> dict[str, list[str]]:
        """Return the states of its task instances, by task."""
        found: dict[str, list[str]] = {}
        for each in self.airflow.tasks(self.dag, self.run):
            found.setdefault(each["task_id"], []).append(each["state"])
        return found

    def flows(self) -> list[dict[str, Any]]:
        """Return the runs of its flows in MLflow, the oldest first."""
        return self.servers.runs({"airflow.dag_run_id": self.run, "airflow.dag_id": self.dag, "flowml.kind": "flow"})

    def parent(self) -> dict[str, Any]:
        """Return the one run of it in MLflow."""
        found = self.servers.runs({"airflow.dag_run_id": self.run, "airflow.dag_id": self.dag})
        (one,) = [run for run in found if "flowml.kind" not in run["tags"]]
        return one

    def three(self, task: str) -> tuple[str, str, str]:
        """Return how the last flow run of a task ended, as Airflow, Prefect and MLflow say."""
        links = self.airflow.links(self.dag, self.run, task)
        prefect = self.servers.flow_run(str(links[PREFECT]))["state_type"]
        last = [run for run in self.flows() if run["tags"]["airflow.task_id"] == task][-1]
        assert last["id"] in str(links[MLFLOW])
        return self.states()[task][0], prefect, last["status"]


@pytest.fixture(scope="module")
def begun(airflow: Airflow, servers: Servers) -> dict[str, Ways]:
    """All DAG runs, begun together: the scheduler has time for one while another waits."""
    dags = ["succeeding", "failing", "retried", "wrong", "timed_out", "stubborn"]
    return {dag: Ways(airflow, servers, dag) for dag in dags}


def test_a_flow_that_completes(begun: dict[str, Ways]) -> None:
    """Plain tasks, a flow, a mapped one and a decorated one: results in XCom, pages behind buttons, one run above."""
    ways = begun["succeeding"]
    assert ways.ended() == "success", ways.states()
    assert ways.three("train") == ("success", "COMPLETED", "FINISHED")
    assert ways.states()["mapped"] == ["success", "success"]
    parent, flows = ways.parent(), ways.flows()
    assert (parent["name"], parent["status"]) == (f"succeeding {ways.run}", "FINISHED")
    assert parent["metrics"] == {"best": 0.9}
    assert parent["params"] == {"folds": "2"}
    assert {flow["tags"]["mlflow.parentRunId"] for flow in flows} == {parent["id"]}
    told = sorted((flow["tags"]["airflow.task_id"], flow["tags"].get("airflow.map_index", "")) for flow in flows)
    assert told == [("decorated", ""), ("mapped", "0"), ("mapped", "1"), ("train", "")]
    assert {flow["params"]["rows"] for flow in flows} == {"90", "10", "20", "91"}
    assert "{'accuracy': 0.9" in str(ways.airflow.xcom(ways.dag, ways.run, "train", "return_value")).replace('"', "'")
    assert "trained on 90 rows" in ways.airflow.log(ways.dag, "train")
    for task, index in (("train", -1), ("mapped", 1)) if IS_3 else (("train", -1),):
        links = ways.airflow.links(ways.dag, ways.run, task, index)
        assert links.keys() == {PREFECT, MLFLOW}
        for url in links.values():
            page = urllib.request.Request(str(url).partition("#")[0], headers={"Accept": "text/html"})  # as browsers do
            with urllib.request.urlopen(page, timeout=30) as answer:
                assert answer.status == 200


def test_a_flow_that_fails(begun: dict[str, Ways]) -> None:
    """All three say so, with the flow's own error, and the buttons are there."""
    ways = begun["failing"]
    assert ways.ended() == "failed"
    assert ways.three("fail") == ("failed", "FAILED", "FAILED")
    assert ways.parent()["status"] == "FAILED"
    assert "is Failed: ValueError: the data is empty" in ways.airflow.log("failing", "fail")


def test_a_flow_that_is_retried(begun: dict[str, Ways]) -> None:
    """Airflow tries again with a flow run of its own; the DAG run's run says how the last one ended."""
    ways = begun["retried"]
    assert ways.ended() == "success"
    assert ways.three("mend") == ("success", "COMPLETED", "FINISHED")
    tries = [(flow["tags"]["airflow.try_number"], flow["status"]) for flow in ways.flows()]
    assert tries == [("1", "FAILED"), ("2", "FINISHED")]
    assert ways.parent()["status"] == "FINISHED"


def test_what_cannot_be_run_is_not_tried_again(begun: dict[str, Ways]) -> None:
    """A flow or an interpreter that is not there fails at once; a result that is no JSON is said, and no failure."""
    ways = begun["wrong"]
    assert ways.ended() == "failed"
    found = {each["task_id"]: (each["state"], each["try_number"]) for each in ways.airflow.tasks("wrong", ways.run)}
    assert found == {"no_flow": ("failed", 1), "no_python": ("failed", 1), "no_json": ("success", 1)}
    assert "has no flow 'trainin'" in ways.airflow.log("wrong", "no_flow")
    assert "python cannot be '/nowhere/python'" in ways.airflow.log("wrong", "no_python").replace("\\", "")
    assert "The flow returned a set, which cannot be written as JSON" in ways.airflow.log("wrong", "no_json")


def test_a_flow_that_takes_too_long(begun: dict[str, Ways]) -> None:
    """Airflow's timeout cancels the flow."""
    ways = begun["timed_out"]
    assert ways.ended() == "failed"
    assert ways.three("endless") == ("failed", "CANCELLED", "KILLED")
    assert ways.parent()["status"] == "KILLED"


def test_a_flow_that_does_not_stop(begun: dict[str, Ways]) -> None:
    """It is killed when its time is over; the task ends, and its run is what `flowml reap` closes."""
    ways = begun["stubborn"]
    assert ways.ended() == "failed"
    assert "did not stop within 2" in ways.airflow.log("stubborn", "stubborn")


def test_a_task_that_is_stopped(airflow: Airflow, servers: Servers) -> None:
    """Somebody marks it as failed: the flow is cancelled."""
    ways = Ways(airflow, servers, "killed")
    until((airflow.home / "markers/killed").exists, 300, "the flow did not begin")
    until(lambda: airflow.links("killed", ways.run, "endless")[MLFLOW], 60, "the button was not there")
    airflow.stop("killed", ways.run, "endless")
    assert ways.ended() == "failed"
    until(lambda: ways.flows()[-1]["status"] != "RUNNING", 60, "the flow was not stopped")
    assert ways.three("endless") == ("failed", "CANCELLED", "KILLED")
