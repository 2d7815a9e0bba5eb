"""A rank that is not the first, is in no task, is told nonsense, or is not tracked: what it logs, and harms nothing."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from sklearn.linear_model import LinearRegression

import flowml
from flowml import Skip, Track, flow, task
from tests.runs import all_runs, flow_run, run_of


@task
def body(do: Annotated[Callable[[], Any], Skip()]) -> None:
    """Do what a test wants."""
    do()


@flow
def call(do: Annotated[Callable[[], Any], Skip()], track: Annotated[Track | None, Skip()] = None) -> None:
    """Do it in a task."""
    (body.with_options(track=track) if track else body)(do)


def log_all() -> None:
    """Log by each of MLflow's ways, and use what they return, as a script does on each rank."""
    with mlflow.start_run(tags={"stage": "train"}) as run:
        assert mlflow.active_run().info.run_id == run.info.run_id
        assert mlflow.log_param("depth", 3) == 3
        mlflow.log_params({"width": 4})
        mlflow.log_metric("loss", 0.5, step=1)
        mlflow.log_metrics({"accuracy": 0.5}, step=1)
        mlflow.log_metric("later", 1.0, synchronous=False).wait()
        mlflow.set_tag("by", "a rank")
        mlflow.log_text("weights", "checkpoint.txt")
        mlflow.log_dict({"a": 1}, "folder/config.json")
        model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
        logged = mlflow.sklearn.log_model(model, name="line", registered_model_name="line")
        version = mlflow.register_model(logged.model_uri, "line")
        MlflowClient().set_registered_model_alias("line", "champion", version.version)
        MlflowClient().log_batch(run.info.run_id, metrics=[Metric("batch", 1.0, 0, 0)])
        MlflowClient().create_run("0")
    flowml.log(own=1.0)


def test_what_another_rank_logs_goes_nowhere(client: MlflowClient) -> None:
    """Each of MLflow's ways to log works on another rank, and leaves nothing in MLflow."""

    def train() -> None:
        with flowml.distributed(rank=1):
            log_all()

    call(train)
    run = run_of(client, "body")
    assert len(all_runs(client)) == len([call, body])
    assert run.data.metrics == {}
    assert run.data.params == {}
    assert not {"stage", "by"} & run.data.tags.keys()
    assert client.list_artifacts(run.info.run_id) == []
    assert client.search_registered_models() == []
    assert client.search_logged_models([run.info.experiment_id]) == []


def test_another_rank_may_log_under_its_name(client: MlflowClient) -> None:
    """Asked for, its metrics and files are in the task's run under its name; parameters and tags are not."""

    def train() -> None:
        with flowml.distributed(rank=1, other_ranks="prefixed"):
            log_all()

    call(train)
    run = run_of(client, "body")
    assert len(all_runs(client)) == len([call, body])
    assert run.data.metrics == dict.fromkeys(["rank_1/loss", "rank_1/accuracy"], 0.5) | dict.fromkeys(
        ["rank_1/later", "rank_1/batch", "rank_1/own"], 1.0
    )
    assert run.data.params == {}
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["rank_1"]
    files = {file.path for file in client.list_artifacts(run.info.run_id, "rank_1")}
    assert files == {"rank_1/checkpoint.txt", "rank_1/folder"}
    assert client.search_registered_models() == []


def test_after_the_block_all_is_as_before(client: MlflowClient) -> None:
    """What follows the block, in the same task, goes to the task's run again."""

    def train() -> None:
        with flowml.distributed(rank=1), flowml.distributed(rank=1, other_ranks="prefixed"):
            mlflow.log_metric("inside", 1.0)
        with flowml.distributed(rank=0), flowml.distributed():
            mlflow.log_metric("first", 1.0)
        mlflow.log_metric("after", 1.0)

    call(train)
    assert run_of(client, "body").data.metrics == {"first": 1.0, "after": 1.0}


def test_autologging_on_another_rank_logs_nothing(client: MlflowClient) -> None:
    """A fit that is autologged on another rank is not in MLflow."""

    def train() -> None:
        with flowml.distributed(rank=2):
            LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])

    call(train, track=Track(autolog="sklearn"))
    run = run_of(client, "body")
    assert len(all_runs(client)) == len([call, body])
    assert run.data.params == {}


def test_a_task_without_a_run_of_its_own(client: MlflowClient) -> None:
    """Of a task without a run of its own the first rank logs where the task does, and the others nowhere."""

    def train() -> None:
        for rank in (1, 0):
            with flowml.distributed(flowml.child_environment(), rank=rank):
                mlflow.log_metric("loss", rank + 1)

    call(train, track=Track(run="parent"))
    assert len(all_runs(client)) == len([call])
    assert flow_run(client).data.metrics == {"loss": 1.0}


def test_a_task_that_would_be_summed_up_gets_a_run(client: MlflowClient) -> None:
    """A task whose flow keeps only failed children gets a run when it starts processes: they log to that."""

    def train() -> None:
        with flowml.distributed(flowml.child_environment()):
            mlflow.log_metric("loss", 1.0)

    call.with_options(track=Track(children="failed"))(train)
    assert run_of(client, "body").data.metrics == {"loss": 1.0}


def test_with_tracking_off_nothing_is_joined(client: MlflowClient) -> None:
    """Where nothing is tracked, MLflow's calls are MLflow's own on the first rank, and go nowhere on the others."""
    with flowml.disabled():
        call(in_both_ranks)
    (run,) = all_runs(client)
    assert run.data.metrics == {"rank": 0.0}


def in_both_ranks() -> None:
    """Log on two ranks, as a process that was started in a task would."""
    mlflow.set_tracking_uri(f"sqlite:///{Path('.flowml/mlflow.db').resolve()}")
    for rank in (1, 0):
        with flowml.distributed(flowml.child_environment(), rank=rank), mlflow.start_run():
            mlflow.log_metric("rank", rank)


def test_a_process_that_no_task_has_started(client: MlflowClient, caplog: pytest.LogCaptureFixture) -> None:
    """Outside a task rank 0 logs as without flowml, and the others nowhere; a line says what to do."""
    assert flowml.child_environment() == {}
    with caplog.at_level(logging.WARNING):
        in_both_ranks()
    (run,) = all_runs(client)
    assert run.data.metrics == {"rank": 0.0}
    assert "joins no task's run" in caplog.text
    assert "env={**os.environ, **flowml.child_environment()}" in caplog.text


@pytest.mark.parametrize("told", ["{", "[]", '{"caller": {}}', '{"caller": {"run": 5}, "task": 1}'])
def test_what_cannot_be_read_is_said_and_harms_nothing(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, told: str
) -> None:
    """A variable that flowml did not write is shown, and the training goes on."""
    monkeypatch.setenv("FLOWML_CALLER", told)
    monkeypatch.setenv("RANK", "second")
    with flowml.distributed():
        pass
    assert f"FLOWML_CALLER holds {told!r}, which flowml.child_environment() did not write" in caplog.text
    assert "RANK='second' in the environment is passed over" in caplog.text


@pytest.mark.parametrize(
    "options, error, text",
    [
        ({"rank": -1}, ValueError, "flowml.distributed(rank=-1) is below 0: the first rank is 0."),
        ({"rank": "1"}, TypeError, "flowml.distributed(rank=...) takes a whole number from 0, not '1'."),
        ({"environment": "x"}, TypeError, "flowml.distributed() takes what flowml.child_environment() returned, not"),
        ({"other_ranks": "all"}, ValueError, "takes 'nowhere' or 'prefixed', not 'all'."),
    ],
)
def test_wrong_arguments_are_refused(project: None, options: dict[str, Any], error: type[Exception], text: str) -> None:
    """What is no rank, no environment, or no word that is known, is an error that says what is."""
    with pytest.raises(error, match=re.escape(text)), flowml.distributed(**options):
        pass


@pytest.mark.parametrize("rank", [0, 1])
def test_what_the_training_raises_comes_out(client: MlflowClient, rank: int) -> None:
    """An error of the training is the task's, unchanged, on whichever rank."""

    def train() -> None:
        with flowml.distributed(flowml.child_environment(), rank=rank):
            raise KeyError("weights")

    with suppress(KeyError):
        call(train)
    run = run_of(client, "body")
    assert run.info.status == "FAILED"
    assert run.data.tags["flowml.error_type"] == "KeyError"
    assert run.data.tags["flowml.ranks_lost"].endswith("failed: KeyError: 'weights'")
