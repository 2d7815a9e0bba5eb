"""PyTorch's torchrun: two nodes of two ranks, and a training that is begun again and again, log to one run.

PyTorch is not among the tests' packages, for its size: ``pip install torch`` beside them, and these tests run.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

import flowml
from flowml import Track, flow, task
from tests.runs import all_runs, run_of

pytest.importorskip("torch.distributed.run", reason="PyTorch is not installed: pip install torch")
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]


@task(track=Track(system_metrics=True))
def fit(folder: Path, nodes: int, deaths: int) -> list[int]:
    """Start torchrun on so many nodes, which are all this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = [shutil.which("torchrun", path=Path(sys.executable).parent) or "torchrun", "--nproc-per-node=2"]
    script = [str(Path(__file__).with_name("torch_rank.py")), str(folder), str(deaths)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    told = {**os.environ, **flowml.child_environment(), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    told["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # else PyTorch 2.13's ranks meet the addresses of those before
    started = []
    for node in range(nodes):
        place = [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test"]
        place.append(f"--rdzv-conf=is_host={int(node == 0)}")
        with (folder / f"log_{node}").open("w") as log:
            command = [*torchrun, *place, f"--max-restarts={2 * deaths}", *script]
            started.append(subprocess.Popen(command, env=told, stdout=log, stderr=log))
    return [each.wait(600) for each in started]


@flow
def training(folder: Path, nodes: int, deaths: int) -> list[int]:
    """Train."""
    (folder / "died").touch()
    return fit(folder, nodes, deaths)


def test_two_nodes_of_two_ranks(client: MlflowClient, tmp_path: Path) -> None:
    """There is one run, with what rank 0 logged, how each of four ranks ended, and the metrics of both nodes."""
    assert training(tmp_path, nodes=2, deaths=0) == [0, 0], (tmp_path / "log_0").read_text()
    run = run_of(client, "fit")
    assert len(all_runs(client)) == len([training, fit])
    assert run.data.params["world_size"] == "4"
    curve = [each.value for each in client.get_metric_history(run.info.run_id, "loss")]
    assert sorted(curve, reverse=True) == curve
    assert len(curve) == 4
    assert {key for key in run.data.tags if key.startswith("flowml.rank")} == {f"flowml.rank.{n}" for n in range(4)}
    for node in (0, 1):
        assert f"system/node_{node}/peak_memory_megabytes" in run.data.metrics
        assert f"system/node_{node}/cpu_utilization_percentage" in run.data.metrics


@pytest.mark.parametrize("nodes, deaths", [(1, 20), (2, 2)])
def test_elastic_restarts_log_to_one_run(client: MlflowClient, tmp_path: Path, nodes: int, deaths: int) -> None:
    """However often torchrun begins the ranks again, they log to the run of the task, and none is missed at the end."""
    assert training(tmp_path, nodes, deaths) == [0] * nodes, (tmp_path / "log_0").read_text()
    assert len((tmp_path / "died").read_text()) == deaths
    run = run_of(client, "fit")
    assert len(all_runs(client)) == len([training, fit])
    assert len(client.get_metric_history(run.info.run_id, "loss")) >= 4
    assert json.loads(run.data.tags["flowml.rank.1"])["state"] == "finished"
    assert "flowml.ranks_lost" not in run.data.tags
