"""Flows that tasks of Airflow run hang under one run, that of the DAG run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow.entities import Run as MlflowRun
from tests.ends.processes import until
from tests.store.killed import journals, killed, run

import flowml
from flowml import formats, records, settings
from flowml.options import Track
from flowml.store import Run, open_run
from flowml.store.backend.connection import connect
from flowml.store.recovery import recover

DAG_RUN = {"AIRFLOW_CTX_DAG_ID": "nightly", "AIRFLOW_CTX_DAG_RUN_ID": "scheduled__2026-01-01T00:00:00+00:00"}
Begin = Callable[..., Run]


@pytest.fixture
def begin(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Begin a flow as a task of Airflow would."""
    for name, value in DAG_RUN.items():
        monkeypatch.setenv(name, value)

    def begun(task: str, *, attempt: int = 1, index: int = -1, track: Track | None = None) -> Run:
        monkeypatch.setenv("AIRFLOW_CTX_TASK_ID", task)
        monkeypatch.setenv("AIRFLOW_CTX_TRY_NUMBER", str(attempt))
        monkeypatch.setenv("AIRFLOW_CTX_MAP_INDEX", str(index))
        name = f"{task} {attempt} {index}"
        named = {"prefect.flow_name": task}
        own = records.Identity(name, "flow", task, 1, formats.now(), None, named, ("prefect.flow_run_id", name))
        track = track or Track()
        return open_run(own, track=track, parent=None, experiment=track.experiment_for({}))

    yield begun
    assert journals(project) == []


def end(opened: Run, status: records.Status = "FINISHED") -> None:
    """End a flow, and wait until MLflow has all of it."""
    opened.close(status, formats.now())
    opened.settle()


def runs() -> dict[str, MlflowRun]:
    """Return all runs by name; there is one of each."""
    client = connect().client
    found = client.search_runs([each.experiment_id for each in client.search_experiments()])
    named = {str(each.info.run_name): each for each in found}
    assert len(named) == len(found)
    return named


PARENT = " ".join(DAG_RUN.values())


def test_flows_of_a_dag_run_hang_under_one_run(begin: Begin) -> None:
    """The first flow makes it, in an experiment named after the DAG; each is tagged with its task, try and index."""
    end(begin("load"))
    end(begin("fit", attempt=2, index=3))
    found = runs()
    parent, load, fit = found[PARENT], found["load 1 -1"], found["fit 2 3"]
    assert parent.info.status == "FINISHED"
    assert connect().client.get_experiment(parent.info.experiment_id).name == "nightly"
    assert {run.data.tags["mlflow.parentRunId"] for run in (load, fit)} == {parent.info.run_id}
    assert fit.data.tags["flowml.root_run_id"] == fit.info.run_id
    told = {key: value for key, value in fit.data.tags.items() if key.startswith("airflow.")}
    ours = {"airflow.dag_id": "nightly", "airflow.dag_run_id": DAG_RUN["AIRFLOW_CTX_DAG_RUN_ID"]}
    assert told == {**ours, "airflow.task_id": "fit", "airflow.try_number": "2", "airflow.map_index": "3"}
    assert "airflow.map_index" not in load.data.tags


def test_it_says_how_the_last_tries_ended(begin: Begin) -> None:
    """It runs as long as one of them does, and has failed until what failed was tried again."""
    first, other = begin("fit"), begin("score")
    assert other.info  # MLflow has it now
    end(first, "FAILED")
    assert runs()[PARENT].info.status == "RUNNING"
    end(other)
    assert runs()[PARENT].info.status == "FAILED"
    again = begin("fit", attempt=2)
    assert again.info
    assert runs()[PARENT].info.status == "RUNNING"
    end(again)
    assert runs()[PARENT].info.status == "FINISHED"


def test_a_flow_in_an_experiment_of_its_own_counts_too(begin: Begin) -> None:
    """MLflow nests runs of one experiment alone: the two are linked by tags."""
    end(begin("fit", track=Track(experiment="churn")), "FAILED")
    parent, fit = runs()[PARENT], runs()["fit 1 -1"]
    assert fit.data.tags["flowml.parent_run_id"] == parent.info.run_id
    assert parent.data.tags[f"flowml.child.{fit.info.run_id}"] == fit.info.experiment_id
    assert parent.info.status == "FAILED"


ONE_FLOW = """
import os
os.environ |= {variables}
root = open_run(owner("{task}", "flow"), track=Track(), parent=None)
root.put([records.Metric("own", 5.0)])
"""


@pytest.mark.e2e
@pytest.mark.slow
def test_two_that_begin_at_once_have_one(project: Path) -> None:
    """Whichever process is first makes it, and the other finds it."""
    connect().experiment_id("nightly")
    codes = [ONE_FLOW.format(variables=DAG_RUN, task=task) for task in ("load", "fit")]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda code: run(f"{code}root.close('FINISHED', 3000)\nroot.settle()\n", project), codes))
    found = runs()
    assert found.keys() == {PARENT, "load", "fit"}
    assert found[PARENT].info.status == "FINISHED"


@pytest.mark.e2e
def test_it_is_made_when_mlflow_is_back(project: Path, begin: Begin) -> None:
    """Of a process that was killed before MLflow heard of it, flow and DAG run are in its journal."""
    killed(f"{ONE_FLOW.format(variables=DAG_RUN, task='load')}root.close('FINISHED', 3000)\ndie()", project)
    assert PARENT not in runs()
    end(begin("fit"))

    def sent() -> bool:  # a sync in the background, which the second flow started, may have begun with it
        assert recover(journals(project)).problems == []
        return not journals(project)

    until(sent, "both flows are in MLflow", 60)
    found = runs()
    parents = {found[name].data.tags["mlflow.parentRunId"] for name in ("load", "fit 1 -1")}
    assert parents == {found[PARENT].info.run_id}
    assert found[PARENT].info.status == "FINISHED"


def test_of_two_that_were_made_one_is_left(begin: Begin) -> None:
    """On two machines both may be made at the same moment: the flow's end brings them together."""
    opened = begin("fit")
    assert opened.info
    client, later = connect().client, runs()[PARENT]
    tags = {key: value for key, value in later.data.tags.items() if key != "mlflow.runName"}
    earlier = client.create_run(later.info.experiment_id, 1, tags, "another")
    end(opened)
    found = runs()
    assert PARENT not in found
    assert found["fit 1 -1"].data.tags["mlflow.parentRunId"] == earlier.info.run_id
    assert found["another"].info.status == "FINISHED"


def test_a_plain_task_is_given_it(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """``flowml.airflow_parent`` makes it or finds it, and leaves it as its flows left it."""
    parent = flowml.airflow_parent()
    assert parent
    assert runs()[PARENT].info.status == "FINISHED"
    end(begin("fit"), "FAILED")
    again = flowml.airflow_parent()
    assert again == parent
    assert runs()[PARENT].info.status == "FAILED"
    monkeypatch.delenv("AIRFLOW_CTX_DAG_RUN_ID")
    assert flowml.airflow_parent() is None


def test_a_flow_that_adopts_nothing_has_none(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting that keeps it from a run that is active keeps it from this one, too."""
    monkeypatch.setenv("FLOWML_ADOPT_ACTIVE_RUN", "false")
    settings.reload()
    end(begin("fit"))
    assert runs().keys() == {"fit 1 -1"}
