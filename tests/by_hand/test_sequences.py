from __future__ import annotations

from contextvars import Context
from typing import Any

import mlflow
import pytest
from hypothesis import HealthCheck, example, given, settings
from mlflow import MlflowClient

from flowml import flow, task
from tests.by_hand.sequences import EXPERIMENTS, Boom, Call, InATask, MlflowAlone, Run, held, sequences


def in_mlflow_alone(client: MlflowClient, calls: tuple[Call, ...]) -> tuple[Any, Any]:
    """Carry a sequence out inside one run; return what the calls gave, and what the runs hold."""
    mlflow.set_experiment("base")
    outer = mlflow.start_run()
    run = Run(MlflowAlone(outer.info.run_id), lambda: outer.info.run_id)
    _all_of(run, calls)
    while mlflow.active_run():
        mlflow.end_run()
    return run.seen, held(client, run, outer.info.run_id)


@task
def in_a_task(client: MlflowClient, calls: tuple[Call, ...]) -> tuple[Any, Any]:
    """Carry the same sequence out in a task."""
    mlflow.set_experiment("base")
    own = mlflow.active_run().info.run_id
    run = Run(InATask(), lambda: own)
    _all_of(run, calls)
    while mlflow.active_run():
        mlflow.end_run()
    return run.seen, held(client, run, own)


def _all_of(run: Run, calls: tuple[Call, ...]) -> None:
    try:
        run.all_of(calls)
    except Boom:
        run.seen.append("boom")
    finally:
        mlflow.sklearn.autolog(disable=True, silent=True)


def compare(client: MlflowClient, most: int) -> None:
    """Draw sequences in one flow, and assert that each gives and leaves the same both ways."""

    @settings(
        max_examples=most,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.nested_given],
    )
    @given(calls=sequences)
    @example(calls=(Call("end_run"), Call("with", {"nested": False}, (Call("log_metric", {"key": "a"}),))))
    @example(calls=(Call("end_all"), Call("active_run"), Call("log_metric", {"key": "a"}), Call("active_run")))
    @example(calls=(Call("set_experiment", {"name": "other"}), Call("with", {"nested": True}, ())))
    @example(calls=(Call("with", {"nested": True}, ()), Call("last_active_run"), Call("active_run")))
    def each(calls: tuple[Call, ...]) -> None:
        alone = Context().run(in_mlflow_alone, client, calls)  # where nothing is known of the flow
        assert in_a_task(client, calls) == alone

    @flow
    def around() -> None:
        mlflow.set_experiment("base")
        each()

    around()


@pytest.fixture
def experiments(client: MlflowClient) -> MlflowClient:
    """A store with the experiments that sequences name."""
    for name in EXPERIMENTS:
        client.create_experiment(name)
    return client


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_fluent_calls_do_in_a_task_what_they_do_inside_a_run(experiments: MlflowClient) -> None:
    """Sequences of fluent calls give and leave the same in a task as in MLflow alone inside one run."""
    compare(experiments, 100)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fluent_calls_do_the_same_in_very_many_sequences(experiments: MlflowClient) -> None:
    """The same holds in two thousand sequences."""
    compare(experiments, 2000)
