"""Where hand-written MLflow code meets forks, threads, asyncio tasks, retries and deleted runs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from pathlib import Path
from threading import Event

import mlflow
import pytest
from mlflow import MlflowClient

from flowml import Track, flow, task
from flowml.store.sending import timing
from tests.runs import all_runs, flow_run, parent_of, run_of, runs_of


def named(client: MlflowClient, name: str) -> list[mlflow.entities.Run]:
    """Return the runs of that name."""
    return [run for run in all_runs(client) if run.info.run_name == name]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_logs_to_the_run_it_was_forked_in(client: MlflowClient) -> None:
    """Nothing is opened a second time, also where the fork comes before anything else needed a run."""

    @task
    def forks() -> list[int]:
        ended = []
        for number in range(2):
            child = os.fork()
            if not child:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(60)  # it could hang on what a thread of the parent held
                try:
                    mlflow.log_metric(f"child_{number}", number)
                finally:
                    os._exit(0)
            ended.append(os.waitpid(child, 0)[1])
        return ended

    @flow
    def pipeline() -> list[int]:
        return forks()

    assert pipeline() == [0, 0]
    assert len(all_runs(client)) == 2
    assert run_of(client, "forks").data.metrics.keys() >= {"child_0", "child_1"}
    assert {run.info.status for run in all_runs(client)} == {"FINISHED"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forks_are_not_held_by_an_mlflow_that_hangs(
    project: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that takes connections and never answers delays all forks together no more than it may a flow.

    The task does not ask it which ranks were lost: none of the forks was one.
    """
    monkeypatch.setenv("FLOWML_TIMEOUT", "2")
    monkeypatch.setenv("FLOWML_MAX_DELAY", "4")

    @task
    def forks() -> float:
        began = time.monotonic()
        for _ in range(8):
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)
        return time.monotonic() - began

    @flow
    def pipeline() -> float:
        return forks()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        mlflow.set_tracking_uri(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert pipeline() < 4 + 3 * timing.FORK
    assert "could not tell how the run ended" not in caplog.text


def test_a_run_left_by_a_task_is_none_of_its_siblings_business(client: MlflowClient) -> None:
    """A task that works at the same time goes on logging to its own run."""
    began, left = Event(), Event()

    @task
    def leaves() -> None:
        assert began.wait(20)
        mlflow.start_run(run_name="left")

    @task
    def sibling() -> None:
        mlflow.log_metric("before", 1)
        began.set()
        assert left.wait(20)
        mlflow.log_metric("after", 1)

    @flow
    def pipeline() -> None:
        works = sibling.submit()
        leaves.submit().wait()
        left.set()
        works.result()

    pipeline()
    assert run_of(client, "sibling").data.metrics == {"before": 1.0, "after": 1.0}
    assert named(client, "left")[0].data.metrics == {}


def test_a_new_thread_refuses_no_run_for_the_sake_of_one_that_has_ended(client: MlflowClient) -> None:
    """Threads get the numbers of earlier ones; a run that was left open in one of those is not active there."""

    @task
    def leave() -> None:
        mlflow.start_run(run_name="left")

    @task
    def opens() -> None:
        with mlflow.start_run(run_name="second"):
            pass

    @flow
    def step(one: str) -> None:
        {"leave": leave, "opens": opens}[one].submit().result()

    @flow
    def pipeline() -> None:
        step("leave")
        for _ in range(6):
            step("opens")

    pipeline()
    assert len(named(client, "second")) == 6


def test_parameters_of_a_flow_with_retries_can_be_read_and_waited_for(client: MlflowClient) -> None:
    """The user's code sees what it has logged, though it is sent when the attempt that counts has ended."""

    @flow(retries=1)
    def pipeline() -> dict[str, str]:
        mlflow.log_param("seed", 1)
        mlflow.log_param("a", 1, synchronous=False).wait()
        mlflow.log_params({"b": 1}, synchronous=False).wait()
        return dict(mlflow.get_run(mlflow.active_run().info.run_id).data.params)

    assert pipeline().items() >= {"seed": "1", "a": "1", "b": "1"}.items()
    assert flow_run(client).data.params.items() >= {"seed": "1", "a": "1", "b": "1"}.items()


def test_a_flow_whose_run_was_deleted_goes_on(client: MlflowClient) -> None:
    """Its later calls go to another run in its experiment; its tasks have their own, and open others below."""

    @task
    def works() -> None:
        mlflow.log_metric("m", 2)

    @flow
    def pipeline() -> None:
        mlflow.set_tag("a", "b")
        client.delete_run(mlflow.active_run().info.run_id)
        mlflow.log_metric("flow", 1)
        mlflow.log_metric("again", 1)
        works()
        with mlflow.start_run(run_name="mine"):
            mlflow.log_metric("x", 1)

    pipeline()
    (other,) = [run for run in all_runs(client) if "flow" in run.data.metrics]
    assert other.data.metrics == {"flow": 1.0, "again": 1.0}
    assert client.get_experiment(other.info.experiment_id).name == "pipeline"
    assert run_of(client, "works").data.metrics == {"m": 2.0}
    assert named(client, "mine")[0].data.metrics == {"x": 1.0}
    assert {run.info.status for run in all_runs(client)} == {"FINISHED"}


def test_a_run_opened_in_an_asyncio_task_that_is_over_is_there(client: MlflowClient) -> None:
    """``asyncio.wait_for`` may run what it waits for in a task of its own; MLflow alone does not tell them apart."""

    async def opens() -> None:
        mlflow.start_run(run_name="mine")

    @task
    async def works() -> str:
        await asyncio.ensure_future(opens())
        mlflow.log_metric("x", 1)
        mlflow.end_run()
        return str(named(client, "mine")[0].info.status)

    @flow
    async def pipeline() -> str:
        return await works()

    assert asyncio.run(pipeline()) == "FINISHED"
    assert named(client, "mine")[0].data.metrics == {"x": 1.0}


def test_runs_of_coroutines_in_one_task_are_apart(client: MlflowClient) -> None:
    """Under ``asyncio.gather`` each logs to the run that it opened, which MLflow alone mixes up."""

    async def train(number: int) -> None:
        with mlflow.start_run(run_name=f"mine-{number}", nested=True):
            await asyncio.sleep(0)
            mlflow.log_metric("number", number)
            await asyncio.sleep(0)

    @task
    async def search() -> None:
        await asyncio.gather(*(train(number) for number in range(3)))

    @flow
    async def pipeline() -> None:
        await search()

    asyncio.run(pipeline())
    assert [named(client, f"mine-{number}")[0].data.metrics for number in range(3)] == [
        {"number": 0.0},
        {"number": 1.0},
        {"number": 2.0},
    ]


def test_the_first_work_decides_between_two_experiments(client: MlflowClient) -> None:
    """What was named when it began holds: the flow's runs do not move to an experiment that is named after it."""

    @task
    def work(number: int) -> None: ...

    @flow
    def pipeline() -> None:
        mlflow.set_experiment("a")
        work(1)
        mlflow.set_experiment("b")
        work(2)

    pipeline()
    assert {client.get_experiment(run.info.experiment_id).name for run in all_runs(client)} == {"a"}


@pytest.mark.parametrize("children", ["all", "failed"])
def test_a_failed_task_inside_the_users_run_hangs_below_it(client: MlflowClient, children: str) -> None:
    """Also where only tasks that fail have runs of their own."""

    @task
    def fails() -> None:
        raise ValueError("no")

    @flow(track=Track(children=children))
    def pipeline() -> int:
        with mlflow.start_run(run_name="mine"):
            fails(return_state=True)
        return 1

    pipeline()
    assert parent_of(run_of(client, "fails")) == named(client, "mine")[0].info.run_id


def test_not_a_number_is_not_logged_again_either(client: MlflowClient) -> None:
    """A metric that is NaN by hand and NaN in what is returned is there once."""

    @task
    def works() -> dict[str, float]:
        mlflow.log_metrics({"loss": float("nan")})
        return {"loss": float("nan")}

    @flow
    def pipeline() -> None:
        works()

    pipeline()
    (run,) = runs_of(client, "works")
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 1


def test_a_call_that_mlflow_cannot_take_is_refused_by_mlflow(client: MlflowClient) -> None:
    """What is wrong with the arguments is said in MLflow's words."""

    @flow
    def pipeline() -> None:
        with pytest.raises(TypeError, match=r"log_metric\(\) missing"):
            MlflowClient().log_metric("x")  # type: ignore[call-arg]

    pipeline()
