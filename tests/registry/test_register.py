"""A model becomes a version that says where it comes from, once however often its flow runs."""

from __future__ import annotations

import json
from typing import Annotated, Any
from uuid import uuid4

import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from tests.runs import run_of, runs_of

import flowml
from flowml import Model, RegisteredVersion, RegistryError, flow, task


@task
def fit(rows: pd.DataFrame) -> tuple[DummyClassifier, dict[str, float]]:
    """Fit a model on the rows of last month."""
    return DummyClassifier().fit(rows[["x"]], rows["y"]), {"accuracy": 0.5}


@pytest.fixture
def rows() -> pd.DataFrame:
    """Some rows to train on."""
    return pd.DataFrame({"x": [0, 1, 2], "y": [0, 1, 1]})


def test_a_version_says_where_it_comes_from(client, rows):
    """It carries both runs, the data's digest, the metrics and the docstring; the model is not stored twice."""

    @flow
    def training() -> RegisteredVersion:
        model, _ = fit(rows)
        return flowml.register(model, "churn", alias="challenger", tags={"team": "risk"})

    made = training()
    assert (made, str(made)) == (RegisteredVersion("churn", "1"), "churn/1")
    version = client.get_model_version_by_alias("churn", "challenger")
    trained, registering = run_of(client, "fit"), run_of(client, "register")
    (logged,) = trained.outputs.model_outputs
    assert [each.model_id for each in registering.outputs.model_outputs] == [logged.model_id]
    (data,) = trained.inputs.dataset_inputs
    tags = version.tags
    assert tags["team"] == "risk"
    assert (tags["flowml.run_id"], tags["flowml.training_run_id"]) == (registering.info.run_id, trained.info.run_id)
    assert tags["prefect.flow_run_id"] == run_of(client, "training").data.tags["prefect.flow_run_id"]
    assert tags["prefect.task_run_id"] == registering.data.tags["prefect.task_run_id"]
    assert "/flow-run/" in tags["prefect.flow_run_url"]
    assert tags.get("mlflow.source.git.commit") == trained.data.tags.get("mlflow.source.git.commit")
    assert json.loads(tags["flowml.datasets"]) == {"rows": data.dataset.digest}
    assert json.loads(tags["flowml.metrics"]) == {"accuracy": 0.5}
    assert "Fit a model on the rows of last month." in version.description
    assert not [key for key in registering.data.params if key.startswith("model")]


def test_a_marker_says_the_same(client, rows):
    """A version that a task's marker makes carries the same."""

    @task
    def fits(rows: pd.DataFrame) -> Annotated[DummyClassifier, Model("clf", register="churn", alias="challenger")]:
        """Fit by a marker."""
        return DummyClassifier().fit(rows[["x"]], rows["y"])

    @flow
    def training() -> None:
        fits(rows)

    training()
    version, run = client.get_model_version("churn", "1"), run_of(client, "fits")
    assert version.tags["flowml.training_run_id"] == version.tags["flowml.run_id"] == run.info.run_id
    assert version.tags["prefect.task_run_id"] == run.data.tags["prefect.task_run_id"]
    assert "rows" in json.loads(version.tags["flowml.datasets"])
    assert "Fit by a marker." in version.description


def test_a_retry_makes_one_version(client, rows):
    """A flow that is tried again is given the version of its first attempt; another call makes another."""
    attempts: list[Any] = []

    @flow(retries=1)
    def training() -> list[str]:
        model, _ = fit(rows)
        attempts.append([flowml.register(model, "churn"), flowml.register(model, "churn")])
        if len(attempts) == 1:
            raise ValueError
        return [each.version for each in attempts[1]]

    assert training() == ["1", "2"]
    assert attempts[0] == attempts[1]
    assert len(client.search_model_versions("name = 'churn'")) == 2
    assert len(runs_of(client, "register")) == 4


def test_a_search_is_logged_once(client, rows):
    """What joblib has no hash of, such as a search with its masked arrays, is known again all the same."""

    @task
    def search(rows: pd.DataFrame) -> GridSearchCV:
        return GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2, scoring="r2").fit(rows[["x"]], rows["x"])

    @flow
    def training() -> str:
        return flowml.register(search(pd.concat([rows, rows])), "churn").version

    training()
    experiments = [each.experiment_id for each in client.search_experiments()]
    assert len(client.search_logged_models(experiments)) == 1


@pytest.mark.parametrize("is_fitted_anew", [False, True])
def test_a_model_from_a_cache_is_the_one_that_was_logged(client, rows, *, is_fitted_anew: bool):
    """A version of what Prefect's cache gave back is made of the logged model that there is; unless it was changed."""
    key = uuid4().hex  # no result of another test's

    @task(persist_result=True, cache_key_fn=lambda *_: key)
    def fit_once(rows: pd.DataFrame) -> tuple[DummyClassifier, dict[str, float]]:
        return DummyClassifier().fit(rows[["x"]], rows["y"]), {"accuracy": 0.5}

    @flow
    def training(*, again: bool) -> str:
        model, _ = fit_once(rows)
        if again and is_fitted_anew:
            model.fit(rows[["x"]], 1 - rows["y"])
        return flowml.register(model, "churn").version

    assert [training(again=again) for again in (False, True)] == ["1", "2"]
    first, second = (client.get_model_version("churn", number) for number in "12")
    logged = client.search_logged_models([each.experiment_id for each in client.search_experiments()])
    assert (first.source == second.source, len(logged)) == (not is_fitted_anew, 1 + is_fitted_anew)
    trained = next(run for run in runs_of(client, "fit_once") if "flowml.cached" not in run.data.tags)
    assert (second.tags["flowml.training_run_id"] == trained.info.run_id) == (not is_fitted_anew)


@pytest.mark.parametrize("is_other", [True, False])
def test_another_model_of_a_retry_is_told(client, caplog, *, is_other: bool):
    """One warning says that the version of the first attempt is returned, where the flow has trained another model."""
    attempts: list[str] = []

    @flow(retries=1)
    def training() -> None:
        constant = len(attempts) if is_other else 0
        model = DummyClassifier(strategy="constant", constant=constant).fit([[0], [1], [2]], [0, 1, 2])
        attempts.append(str(flowml.register(model, "churn")))
        if len(attempts) == 1:
            raise ValueError

    training()
    assert attempts == ["churn/1"] * 2
    told = [each.message for each in caplog.records if "which is another one" in each.message]
    assert len(told) == is_other
    assert all("register returns churn/1," in each and "persist_result=True" in each for each in told)


def test_what_cannot_be_registered(client):
    """What MLflow cannot save, and a call where nothing is tracked, are told."""

    @flow
    def training() -> None:
        flowml.register({"no": "model"}, "churn")

    with pytest.raises(RegistryError, match="no way to save a dict"):
        training()
    with flowml.disabled(), pytest.raises(RegistryError, match="nothing is tracked"):
        training()


@pytest.mark.parametrize(
    "name, more, said",
    [
        ("a/b", {}, "'a/b' cannot be a registered model's name"),
        (" ", {}, "' ' cannot be"),
        (None, {}, "None cannot be"),
        ("churn", {"alias": "no good"}, "'no good' cannot be an alias"),
        ("churn", {"alias": "previous"}, "follows another alias by itself"),
        ("churn", {"tags": {3: "x"}}, "takes texts by their names"),
        ("churn", {"tags": ["x"]}, "takes texts by their names"),
    ],
)
def test_what_mlflow_would_not_take_is_refused_before(client, name, more, said):
    """A name, alias or tag that cannot be is named, and no version is made."""

    @flow
    def training() -> None:
        flowml.register(DummyClassifier().fit([[0], [1]], [0, 1]), name, **more)

    with pytest.raises(RegistryError, match=said):
        training()
    assert not client.search_registered_models()


def test_a_protected_alias_is_refused_in_each_attempt(client, project):
    """The version is there, and whoever asked for the alias is told, also when their flow runs again."""
    (project / "pyproject.toml").write_text('[tool.flowml.registry."*"]\nchampion = { gate = true }\n')
    said: list[str] = []

    @flow(retries=1)
    def training() -> None:
        with pytest.raises(RegistryError) as error:
            flowml.register(DummyClassifier().fit([[0], [1]], [0, 1]), "churn", alias="champion")
        said.append(str(error.value))
        if len(said) == 1:
            raise ValueError

    training()
    assert said[0] == said[1]
    assert said[0].startswith("churn/1 is registered, without the alias 'champion'. churn@champion is protected")
    assert client.get_registered_model("churn").aliases == {}
    assert "its folder exists" not in run_of(client, "training").data.tags["flowml.tracking_error"]
