"""Trials in other processes: what they report reaches Optuna, and what they return is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner
from tests.postgres import postgres
from tests.runs import flow_run, runs_of

import flowml
from flowml import Int, Study, TuningError, task, tune

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]


class GiveUp(optuna.pruners.BasePruner):
    """Gives up each trial whose last value is above 0."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:  # noqa: ARG002 - Optuna gives it
        """Tell."""
        return trial.intermediate_values[trial.last_step] > 0


@task
def fit(x: int) -> dict[str, float]:
    """Report twice, where the first is good enough."""
    flowml.report(0, x)
    flowml.report(1, x)
    return {"loss": float(x), "pid": float(os.getpid())}


def searched(runner: TaskRunner[Any] | None, **more: Any) -> Study:
    """Try 0, 1 and 2; only 0 is good."""
    sampler = optuna.samplers.GridSampler({"x": [0, 1, 2]})
    much = {"trials": 3, "parallel": 2, "sampler": sampler, "pruner": GiveUp(), "name": "far"}
    return tune(fit, x=Int(0, 2), minimize="loss", runner=runner, **much, **more)


def processes() -> TaskRunner[Any]:
    """Prefect's pool of processes."""
    return ProcessPoolTaskRunner(max_workers=2)


def dask() -> TaskRunner[Any]:
    """A cluster of Dask's on this machine."""
    from prefect_dask import DaskTaskRunner

    cluster = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    return DaskTaskRunner(cluster_kwargs=cluster)


def ray() -> TaskRunner[Any]:
    """A cluster of Ray's on this machine."""
    ray_runner = pytest.importorskip("prefect_ray").RayTaskRunner
    root = Path(__file__).parents[2]
    found = {"env_vars": {"PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}}
    return ray_runner(init_kwargs={"num_cpus": 2, "include_dashboard": False, "runtime_env": found})


@pytest.mark.parametrize("runner", [processes, dask, ray])
def test_they_report_and_are_pruned(client: MlflowClient, runner: Callable[[], TaskRunner[Any]]):
    """A trial in another process is pruned there, told, and has its run below the search."""
    study = searched(runner())
    assert study.counts() == {"complete": 1, "pruned": 2}
    runs, above = runs_of(client, "fit"), flow_run(client)
    assert sorted(run.data.tags["prefect.state"] for run in runs) == ["Completed", "Pruned", "Pruned"]
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {above.info.run_id}
    (done,) = [run for run in runs if "pid" in run.data.metrics]
    assert done.data.metrics["pid"] != os.getpid()
    assert [point.step for point in client.get_metric_history(done.info.run_id, "loss")][:2] == [0, 1]
    assert study.best.run.run_id == done.info.run_id


def test_a_database_keeps_the_study(client: MlflowClient, monkeypatch: pytest.MonkeyPatch):
    """Threads and processes tell a study in PostgreSQL; its password is shown nowhere."""
    with postgres() as server:
        monkeypatch.setenv("STUDIES", server.create("studies"))
        study = searched(processes(), storage="env:STUDIES")
        assert study.counts() == {"complete": 1, "pruned": 2}
        assert Study.find("far", "env:STUDIES").best.params == {"x": 0}
        with pytest.raises(TuningError) as refused:
            tune(fit, x=Int(0, 3), minimize="loss", name="far", storage="env:STUDIES")
        study._place.storage().engine.dispose()
        above = flow_run(client)
    told = [str(refused.value), repr(study), *above.data.params.values(), *above.data.tags.values()]
    assert not [text for text in told if server.password in text]
    monkeypatch.setenv("STUDIES", server.uri("nowhere"))
    with pytest.raises(TuningError, match="Optuna cannot use the database postgresql://127") as gone:
        searched(None, storage="env:STUDIES")
    assert server.password not in str(gone.value)
