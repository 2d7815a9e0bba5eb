"""Real processes that a task starts log to its run, whichever comes first, and however they end."""

from __future__ import annotations

import json
import multiprocessing
import signal
import socket
import time
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

import flowml
from flowml import flow, task
from tests.distributed.rank import STEPS, train
from tests.distributed.starting import logs, start
from tests.runs import all_runs, flow_run, run_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]


@task
def fit(folder: Path, rounds: list[list[int]]) -> list[list[int]]:
    """Start ranks, one round after the other."""
    return [start(folder, ranks) for ranks in rounds]


@flow
def training(folder: Path, rounds: list[list[int]]) -> list[list[int]]:
    """Train."""
    return fit(folder, rounds)


def notes(client: MlflowClient) -> dict[str, str]:
    """Return what the task's run says of each rank."""
    tags = run_of(client, "fit").data.tags
    prefix = "flowml.rank."
    return {key.removeprefix(prefix): json.loads(tags[key])["state"] for key in tags if key.startswith(prefix)}


def test_whichever_rank_comes_first_there_is_one_run(client: MlflowClient, tmp_path: Path) -> None:
    """Three ranks log to the task's run, the last one first; what is in it is of rank 0 alone."""
    (tmp_path / "after_0").write_text("run_1")
    (tmp_path / "after_1").write_text("run_2")
    assert training(tmp_path, [[0, 1, 2]]) == [[0, 0, 0]], logs(tmp_path)
    run = run_of(client, "fit")
    assert len(all_runs(client)) == len([training, fit])
    assert {(tmp_path / f"run_{rank}").read_text() for rank in range(3)} == {run.info.run_id}
    assert [each.value for each in client.get_metric_history(run.info.run_id, "loss")] == [1, 1 / 2, 1 / 3]
    assert run.data.params["rank"] == "0"
    assert run.data.tags["trained_by"] == "0"
    assert run.info.status == "FINISHED"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"checkpoint.txt"}
    assert notes(client) == {"0": "finished", "1": "finished", "2": "finished"}
    assert "flowml.ranks_lost" not in run.data.tags
    assert "Traceback" not in logs(tmp_path)
    assert "flowml" not in logs(tmp_path)


@pytest.mark.slow
def test_ranks_that_are_started_again_log_to_the_same_run(client: MlflowClient, tmp_path: Path) -> None:
    """After twenty restarts there is no run beside those of the flow and the task, and no rank is missed."""
    (tmp_path / "kill_1").touch()
    found = training(tmp_path, [[0, 1]] * 19 + [[0, 2]])
    assert found == [[0, -signal.SIGKILL]] * 19 + [[0, 0]]
    run = run_of(client, "fit")
    assert len(all_runs(client)) == len([training, fit])
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 20 * STEPS
    assert notes(client) == {"0": "finished", "1": "running", "2": "finished"}


@task
def fit_by_python(folder: Path, way: str) -> list[int | None]:
    """Start ranks by multiprocessing, as PyTorch does."""
    context = multiprocessing.get_context(way)
    told = flowml.child_environment() if way == "spawn" else None  # a forked process knows all that its parent did
    ranks = [context.Process(target=train, args=(folder, told, rank)) for rank in range(2)]
    for each in ranks:
        each.start()
    for each in ranks:
        each.join(100)
        each.kill()  # else one that hangs is waited for when this process ends
    return [each.exitcode for each in ranks]


@flow
def training_by_python(folder: Path, way: str) -> list[int | None]:
    """Train."""
    return fit_by_python(folder, way)


@pytest.mark.parametrize("way", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_rank_that_dies_is_named(
    client: MlflowClient, tmp_path: Path, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """Processes of Python's join, and one that is killed or fails is named on the run, in the log and in the note."""
    (tmp_path / "kill_1").touch()
    (tmp_path / "fail_0").touch()
    assert training_by_python(tmp_path, way) == [1, -signal.SIGKILL]
    run = run_of(client, "fit_by_python")
    assert len(all_runs(client)) == len([training_by_python, fit_by_python])
    assert len(client.get_metric_history(run.info.run_id, "loss")) == STEPS
    failed, killed = run.data.tags["flowml.ranks_lost"].split("; ")
    assert failed.startswith("rank 0 (process ")
    assert failed.endswith("failed: ValueError: rank 0 has no data")
    assert killed.startswith("rank 1 (process ")
    assert killed.endswith("was killed, or died")
    assert killed in caplog.text
    assert killed in flow_run(client).data.tags["mlflow.note.content"]


def report(folder: Path, rank: int) -> None:
    """Log by flowml alone on the first rank, by MLflow's plain calls on the other."""
    with flowml.distributed(rank=rank):
        if rank == 0:
            flowml.log_metrics(loss=0.5)
        else:
            mlflow.log_metric("loss", 1.5)
    (folder / f"done_{rank}").touch()


@task
def fit_offline(folder: Path) -> list[int | None]:
    """Start two ranks."""
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=report, args=(folder, rank)) for rank in range(2)]
    for each in ranks:
        each.start()
    for each in ranks:
        each.join(100)
        each.kill()  # else one that hangs is waited for when this process ends
    return [each.exitcode for each in ranks]


def test_ranks_go_on_while_mlflow_is_away(
    project: Path, prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where MLflow's server does not answer, each rank ends as it should, in a time that is bounded."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        mlflow.set_tracking_uri(f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("FLOWML_TIMEOUT", "0.5")
        began = time.monotonic()
        assert flow(lambda: fit_offline(tmp_path), name="offline")() == [0, 0]
        assert time.monotonic() - began < 30
    assert {file.name for file in tmp_path.glob("done_*")} == {"done_0", "done_1"}
