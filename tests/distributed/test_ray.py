"""The workers of Ray Train log to the run of the task that starts them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

import flowml
from flowml import Track, flow, task
from tests.runs import all_runs, run_of

pytest.importorskip("ray.train", reason="Ray Train is not installed")
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]


def work(told: Mapping[str, Any]) -> None:
    """Train on one worker; Ray says which it is."""
    with flowml.distributed(told), mlflow.start_run():
        for step in range(3):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)


@task(track=Track(system_metrics=True))
def fit(folder: Path) -> None:
    """Train on two workers."""
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.xgboost import XGBoostTrainer  # the one that needs no PyTorch

    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": path}})
    try:
        XGBoostTrainer(
            work,
            train_loop_config=flowml.child_environment(),
            scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}),
            run_config=RunConfig(storage_path=str(folder)),
        ).fit()
    finally:
        ray.shutdown()


@flow
def training(folder: Path) -> None:
    """Train."""
    fit(folder)


def test_ray_trains_two_workers_in_one_run(client: MlflowClient, tmp_path: Path) -> None:
    """What the first of two workers logs is in the task's run; both have ended, and their node was sampled."""
    training(tmp_path)
    run = run_of(client, "fit")
    assert len(all_runs(client)) == len([training, fit])
    assert [each.value for each in client.get_metric_history(run.info.run_id, "loss")] == [1, 1 / 2, 1 / 3]
    assert {key for key in run.data.tags if key.startswith("flowml.rank")} == {"flowml.rank.0", "flowml.rank.1"}
    assert "system/node_0/peak_memory_megabytes" in run.data.metrics
