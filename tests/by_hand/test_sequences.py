from __future__ import annotations

from typing import Any

import mlflow
import pytest
from hypothesis import HealthCheck, example, given, settings
from mlflow import MlflowClient

from flowml import flow, task
from tests.by_hand.sequences import Boom, Call, InATask, MlflowAlone, Run, held, sequences

EXPERIMENTS = ("base", "other")


def in_mlflow_alone(client: MlflowClient, calls: tuple[Call, ...]) -> tuple[Any, Any]:
    """Carry a sequence out inside one run; return what the calls gave, and what the runs hold."""
    mlflow.set_experiment("base")
    outer = mlflow.start_run()
    run = Run(MlflowAlone(outer.info.run_id), lambda: outer.info.run_id)
    _all_of(run, calls)
    while mlflow.active_run():
        mlflow.end_run()
    return run.seen, held(client, run, outer.info.run_id)


def in_a_task(client: MlflowClient, calls: tuple[Call, ...]) -> tuple[Any, Any]:
    """Carry the same sequence out in a task."""
    mlflow.set_experiment("base")
    ids: list[str] = []

    @task
    def carried_out() -> None:
        own = mlflow.active_run().info.run_id
        ids.append(own)
        _all_of(runs[0], calls)

    @flow
    def around() -> None:
        carried_out()

    runs = [Run(InATask(), lambda: ids[0])]
    around()
    return runs[0].seen, held(client, runs[0], ids[0])


def _all_of(run: Run, calls: tuple[Call, ...]) -> None:
    try:
        run.all_of(calls)
    except Boom:
        run.seen.append("boom")
    finally:
        mlflow.sklearn.autolog(disable=True, silent=True)


def compare(client: MlflowClient, calls: tuple[Call, ...]) -> None:
    """Assert that a sequence gives and leaves the same both ways."""
    assert in_a_task(client, calls) == in_mlflow_alone(client, calls)


@pytest.fixture
def experiments(client: MlflowClient) -> MlflowClient:
    """A store with the experiments that sequences name."""
    for name in EXPERIMENTS:
        client.create_experiment(name)
    return client


_QUICK = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.e2e
@_QUICK
@given(calls=sequences)
@example(calls=(Call("end_run"), Call("with", {"nested": False}, (Call("log_metric", {"key": "a"}),))))
@example(calls=(Call("end_all"), Call("active_run"), Call("log_metric", {"key": "a"}), Call("active_run")))
@example(calls=(Call("set_experiment", {"name": "other"}), Call("with", {"nested": True}, ())))
def test_fluent_calls_do_in_a_task_what_they_do_inside_a_run(
    experiments: MlflowClient, calls: tuple[Call, ...]
) -> None:
    """Sequences of fluent calls give and leave the same in a task as in MLflow alone inside one run."""
    compare(experiments, calls)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(_QUICK, max_examples=2000)
@given(calls=sequences)
def test_fluent_calls_do_the_same_in_very_many_sequences(experiments: MlflowClient, calls: tuple[Call, ...]) -> None:
    """The same holds in two thousand sequences."""
    compare(experiments, calls)
