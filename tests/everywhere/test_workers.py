"""What other processes are told, and what they are not: stores, options, credentials, a stranger's run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.task_runners import ProcessPoolTaskRunner

from flowml import Track, task
from tests.everywhere.probe import Depth, probe
from tests.everywhere.stores import Caller, Store, expect
from tests.everywhere.ways import outer_flow, some
from tests.runs import all_runs

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]  # worker processes take their time


@task
def registry_in_force() -> str:
    """Return where plain MLflow would register a model."""
    return mlflow.get_registry_uri()


JOBS = some(2, Depth.MODEL)


def enter(environment: Mapping[str, str]) -> None:
    """Set a worker process up as its machine's environment would."""
    os.environ.update(environment)


def run_in_workers(environment: Mapping[str, str], **options: Any) -> Any:
    """Run the probes in processes that have another environment."""
    runner = ProcessPoolTaskRunner(max_workers=1, initializer=enter, initargs=(dict(environment),))
    run = outer_flow.with_options(task_runner=runner, **options)
    return run(lambda: probe.map([job.number for job in JOBS], [job.depth for job in JOBS]).result(), return_state=True)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_worker_uses_the_store_that_the_flow_resolved(store: Store, tmp_path: Path, flowml_empty_store: Path) -> None:
    """A worker whose environment names another MLflow and another experiment writes where the flow writes."""
    decoy = tmp_path / "decoy.db"
    decoy.write_bytes(flowml_empty_store.read_bytes())
    uri = f"sqlite:///{decoy}"
    run_in_workers({"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": "decoy", "MLFLOW_EXPERIMENT_ID": "0"})
    expect(store, Caller("outer-flow", JOBS))
    elsewhere = MlflowClient(uri)
    assert all_runs(elsewhere) == []
    assert elsewhere.search_traces(locations=["0"]) == []
    assert [experiment.name for experiment in elsewhere.search_experiments()] == ["Default"]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_worker_registers_where_the_flow_does(
    store: Store, tmp_path: Path, flowml_empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain MLflow in a worker registers models where the flow does, though its environment does not say so."""
    registry = tmp_path / "registry.db"
    registry.write_bytes(flowml_empty_store.read_bytes())
    monkeypatch.setenv("FLOWML_REGISTRY_URI", f"sqlite:///{registry}")
    runner = ProcessPoolTaskRunner(max_workers=1, initializer=forget, initargs=("FLOWML_REGISTRY_URI",))
    found: list[str] = []
    outer_flow.with_options(task_runner=runner)(lambda: found.append(registry_in_force.submit().result()))
    assert found == [f"sqlite:///{registry}"]


def forget(name: str) -> None:
    """Set a worker process up without a variable."""
    os.environ.pop(name, None)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_foreign_run_id_does_not_hijack_a_worker(store: Store) -> None:
    """A worker with ``MLFLOW_RUN_ID`` of another run in its environment leaves that run alone."""
    stranger = store.client.create_run("0", run_name="stranger")
    store.known |= {stranger.info.run_id}
    run_in_workers({"MLFLOW_RUN_ID": stranger.info.run_id})
    expect(store, Caller("outer-flow", JOBS))
    after = store.client.get_run(stranger.info.run_id)
    assert (after.info.run_name, after.info.status) == ("stranger", "RUNNING")
    assert (after.data.params, after.data.metrics) == ({}, {})
    assert after.data.tags == stranger.data.tags


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_workers_runs_follow_the_flows_options(store: Store) -> None:
    """A worker's runs are in the experiment of the flow's own ``Track``."""
    experiment_id = store.client.create_experiment("chosen by the flow")
    run_in_workers({}, track=Track(experiment="chosen by the flow"))
    store.experiment_id = experiment_id
    expect(store, Caller("outer-flow", JOBS))


@pytest.mark.parametrize("store", ["http"], indirect=True)
def test_credentials_stay_out_of_prefect_and_mlflow(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password in the tracking URI is in no label, tag or parameter of Prefect, nor of MLflow; workers still work."""
    mlflow.set_tracking_uri(store.uri.replace("//", "//ada:hunter2@"))
    state = run_in_workers({})
    expect(store, Caller("outer-flow", JOBS))
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(state.state_details.flow_run_id)
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
        task_runs = client.read_task_runs(flow_run_filter=wanted)
        (kept,) = client.filter_flow_run_input(flow_run.id, "flowml-run-", 10, set())
    told = {f"Prefect {key}": str(value) for each in [flow_run, *task_runs, kept] for key, value in each}
    told |= {
        f"MLflow {key}": value for run in store.runs() for key, value in {**run.data.tags, **run.data.params}.items()
    }
    assert "tracking_uri" in told["Prefect value"]
    assert [where for where, text in told.items() if "hunter2" in text or "ada:" in text] == []
