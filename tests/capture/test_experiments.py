"""``Track(experiment=...)``: a name, a template over the parameters, a function; for subflows too."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tests.runs import all_runs, flow_run, parent_of, run_of

from flowml import Track, flow, task


def experiment_of(client: MlflowClient, run: Run) -> str:
    """Return the name of a run's experiment."""
    return str(client.get_experiment(run.info.experiment_id).name)


def test_a_template_is_filled_in_with_the_parameters(client: MlflowClient) -> None:
    """Each call goes to the experiment that its parameters name, formatted as Prefect's own templates are."""

    @flow(track=Track(experiment="churn-{region}-{year:04d}"))
    def training(region: str, year: int = 7) -> None: ...

    training("north")
    training("south", 12)
    assert sorted(experiment_of(client, run) for run in all_runs(client)) == ["churn-north-0007", "churn-south-0012"]


def test_a_function_names_it(client: MlflowClient) -> None:
    """A function without arguments is called for each run."""
    names = iter(["first", "second"])

    @flow(track=Track(experiment=lambda: next(names)))
    def training() -> None: ...

    training()
    training()
    assert [experiment_of(client, run) for run in all_runs(client)] == ["first", "second"]


def test_a_template_that_names_no_parameter_is_refused_when_it_is_written() -> None:
    """The message names the field, and the parameters that there are."""
    with pytest.raises(ValueError, match=r"Track\(experiment=...\) names 'regoin', .*: region"):

        @flow(track=Track(experiment="churn-{regoin}"))
        def training(region: str) -> None: ...


def test_a_template_with_a_lone_brace_is_refused_when_it_is_written() -> None:
    """The message says how a brace is written."""
    with pytest.raises(ValueError, match="written twice"):

        @flow(track=Track(experiment="churn-{"))
        def training() -> None: ...


def _fails() -> str:
    raise OSError("no network")


@pytest.mark.parametrize("experiment", [_fails, lambda: "", lambda: None], ids=["fails", "empty", "None"])
def test_a_function_that_gives_no_name_costs_no_run(
    client: MlflowClient, caplog: pytest.LogCaptureFixture, experiment: Callable[[], str]
) -> None:
    """The run goes to the default experiment, and one line says why."""

    @flow(track=Track(experiment=experiment))
    def training() -> int:
        return 1

    with caplog.at_level(logging.WARNING):
        assert training() == 1
    assert experiment_of(client, flow_run(client)) == "training"
    assert len([line for line in caplog.messages if "The run goes to the default experiment" in line]) == 1


def test_a_subflow_has_its_run_in_its_own_experiment(client: MlflowClient) -> None:
    """It is a root there, with its own tasks below it; tags and notes lead from one run to the other."""

    @task
    def fit(x: int) -> int:
        return x

    @flow(track=Track(experiment="models-{kind}"))
    def train(kind: str) -> int:
        return fit(1)

    @flow(track=Track(experiment="nightly"))
    def nightly() -> None:
        train("forest")
        fit(2)

    nightly()
    outer, inner = run_of(client, "nightly"), run_of(client, "train")
    assert experiment_of(client, outer) == "nightly"
    assert experiment_of(client, inner) == "models-forest"
    assert parent_of(inner) is None
    assert inner.data.tags["flowml.parent_run_id"] == outer.info.run_id
    assert outer.data.tags[f"flowml.child.{inner.info.run_id}"] == inner.info.experiment_id
    assert f"/runs/{inner.info.run_id}" in outer.data.tags["mlflow.note.content"]
    assert f"/runs/{outer.info.run_id}" in inner.data.tags["mlflow.note.content"]
    (below,) = [run for run in all_runs(client) if parent_of(run) == inner.info.run_id]
    assert below.data.tags["flowml.root_run_id"] == inner.info.run_id
    assert {run.info.status for run in all_runs(client)} == {"FINISHED"}


def test_a_subflow_that_names_the_same_experiment_hangs_under_its_caller(client: MlflowClient) -> None:
    """Where MLflow's UI can nest it, it is nested."""

    @flow(track=Track(experiment="both"))
    def train() -> None: ...

    @flow(track=Track(experiment="both"))
    def nightly() -> None:
        train()

    nightly()
    assert parent_of(run_of(client, "train")) == run_of(client, "nightly").info.run_id
