"""A version of a registered model as input: loaded once, and the run says which it was."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner
from sklearn.dummy import DummyClassifier
from tests.runs import run_of, runs_of

import flowml
from flowml import Model, RegistryError, flow, task


@task
def fit(constant: int) -> Annotated[DummyClassifier, Model(register="churn", alias="champion")]:
    """Fit a model that always says the same."""
    return DummyClassifier(strategy="constant", constant=constant).fit([[0], [1]], [0, 1])


@flow
def training(constant: int) -> None:
    """Make a new champion."""
    fit(constant)


def in_flow(called: Any, *args: Any) -> Any:
    """Call a task in a flow of its own."""

    @flow
    def calling() -> Any:
        return called(*args)

    return calling()


@pytest.fixture
def champion(client):
    """Register a first champion, which always says 1."""
    training(1)
    return client.get_model_version_by_alias("churn", "champion")


def read_by(client: MlflowClient, run: Run) -> tuple[dict[str, str], list[str]]:
    """Return the versions that a run's tags say it read, and the models that MLflow shows as its inputs."""
    tags = {key.removeprefix("flowml.read."): value for key, value in run.data.tags.items() if "flowml.read." in key}
    return tags, [each.model_id for each in client.get_run(run.info.run_id).inputs.model_inputs]


def test_a_task_says_which_version_it_read(client, champion):
    """The model is scikit-learn's own; the run is tagged with the version, linked to the model, and has no others."""

    @task
    def predict() -> Any:
        model = flowml.load_model("churn@champion")
        assert type(model) is DummyClassifier
        return model

    @task
    def use(model: Any) -> int:
        return int(model.predict([[0]])[0])

    @flow
    def scoring() -> int:
        return use(predict())

    assert scoring() == 1
    loading, using = run_of(client, "predict"), run_of(client, "use")
    assert loading.data.params == {"return": "churn/1"}
    assert using.data.params == {"model": "churn/1"}
    assert (
        read_by(client, loading)
        == read_by(client, using)
        == ({"churn/1": "churn@champion"}, [champion.source.rpartition("/")[2]])
    )
    assert not loading.outputs.model_outputs


def test_a_version_is_loaded_once_and_a_moved_alias_is_seen(client, champion):
    """Eight threads are given one object; when the alias moves the next call gives another."""
    with ThreadPoolExecutor(8) as pool:
        first = set(map(id, pool.map(flowml.load_model, ["churn@champion", "churn/1"] * 8)))
    assert first == {id(flowml.load_model(("churn", 1)))}
    training(0)
    assert flowml.load_model("churn@champion").predict([[0]])[0] == 0
    assert flowml.load_model("models:/churn/1").predict([[0]])[0] == 1


def test_where_there_is_none_yet(client):
    """Without a default it is an error that there is none; with one that is returned."""
    assert flowml.load_model("churn@champion", default=None) is None
    with pytest.raises(RegistryError, match="There is no registered model 'churn'"):
        flowml.load_model("churn@champion")


def test_an_argument_is_filled_in(client, champion):
    """An argument that is not passed is the champion, for a flow and for submitted and mapped tasks."""

    @task
    def predict(row: int, champion: Annotated[Any, Model.ref("models:/churn@champion")] = None) -> int:
        return int(champion.predict([[row]])[0])

    @flow(task_runner=ThreadPoolTaskRunner(2))
    def scoring(rows: list[int], champion: Annotated[Any, Model.ref("churn@champion")] = None) -> list[int]:
        assert type(champion) is DummyClassifier
        futures = [*predict.map(rows), predict.submit(3)]
        wait(futures)
        return [predict(4), *(future.result() for future in futures)]

    assert scoring([1, 2]) == [1, 1, 1, 1]
    (of_flow,) = runs_of(client, "scoring")
    assert of_flow.data.params["champion"] == "churn/1"
    for run in (of_flow, *runs_of(client, "predict")):
        assert read_by(client, run)[0] == {"churn/1": "churn@champion"}
        assert not [key for key in run.data.params if key.startswith("champion.")]
    assert scoring.parameters.properties["champion"]["default"] is None


def test_what_is_passed_is_used(client, champion):
    """A model that is passed is taken as it is, and text names another version, as a deployment's parameter can."""
    training(0)

    @task
    def predict(champion: Annotated[Any, Model.ref("churn@champion")] = None) -> int:
        return int(champion.predict([[0]])[0])

    own = DummyClassifier(strategy="constant", constant=1).fit([[0], [1]], [0, 1])

    @flow
    def predicting() -> list[int]:
        return [predict(), predict(own), predict("churn/1"), predict(champion="churn/2")]

    assert predicting() == [0, 1, 1, 0]
    with pytest.raises(RegistryError, match="churn has no version 9"):
        in_flow(predict, "churn/9")


@pytest.mark.slow
def test_an_optional_argument_stays_none(client):
    """With optional=True the argument is None as long as there is no champion; else the call fails and says so."""

    @task
    def compare(champion: Annotated[Any, Model.ref("churn@champion", optional=True)] = None) -> bool:
        return champion is None

    @task
    def needs(champion: Annotated[Any, Model.ref("churn@champion")] = None) -> None: ...

    assert in_flow(compare)
    with pytest.raises(RegistryError, match="no registered model"):
        in_flow(needs)
    assert run_of(client, "needs").info.status == "FAILED"
    training(1)
    assert not in_flow(compare)


def test_an_argument_is_filled_in_untracked_and_async(client, champion):
    """It is filled in also where nothing is tracked, and in async functions."""

    @task(track=False)
    def untracked(champion: Annotated[Any, Model.ref("churn@champion")] = None) -> int:
        return int(champion.predict([[0]])[0])

    @task
    async def later(champion: Annotated[Any, Model.ref("churn@champion")] = None) -> int:
        return int(champion.predict([[0]])[0])

    @flow
    async def both() -> list[int]:
        return [untracked(), await later()]

    with flowml.disabled():
        assert asyncio.run(both()) == [1, 1]
    assert asyncio.run(both()) == [1, 1]
    assert read_by(client, run_of(client, "later"))[0] == {"churn/1": "churn@champion"}
