"""What the run of a flow shows of the tasks that it called: their names, metrics, datasets, models and figures."""

from __future__ import annotations

from typing import Annotated

import mlflow
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient
from prefect import unmapped
from sklearn.linear_model import Ridge
from tests.runs import run_of, runs_of

import flowml
from flowml import Model, flow, task

ROWS = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "y": [0.0, 1.0, 2.0, 3.5]})


@task
def clean(rows: pd.DataFrame) -> pd.DataFrame:
    """Make a table of another."""
    return rows.dropna().assign(z=1.0)


@task
def fit(rows: pd.DataFrame, alpha: float) -> Ridge:
    """Fit a model."""
    return Ridge(alpha=alpha).fit(rows[["x"]], rows["y"])


@task
def evaluate(model: Ridge, rows: pd.DataFrame) -> dict[str, float]:
    """Evaluate one."""
    return {"r2": model.score(rows[["x"]], rows["y"]), "nan": float("nan")}


@task
def draw(kind: str) -> Figure:
    """Draw something."""
    figure = Figure()
    figure.subplots().set_title(kind)
    return figure


@task
def rate(kind: str, day: str) -> float:
    """Return a number."""
    return float(len(kind) + len(day))


@flow
def training() -> dict[str, float]:
    """Train and compare."""
    rows = clean(ROWS)
    models = fit.map(unmapped(rows), [0.5, 2.0]).result()
    scores = evaluate.map(models, unmapped(rows)).result()
    draw("loss")
    return scores[0]


def test_the_flows_run_has_what_came_in_and_what_came_out(client: MlflowClient) -> None:
    """Of datasets those that no task made, of models all; the page of all runs has columns for both."""
    training()
    root = run_of(client, "training")
    assert [given.dataset.name for given in root.inputs.dataset_inputs] == ["rows"]
    made = {client.get_logged_model(each.model_id).name for each in root.outputs.model_outputs}
    assert made == {"Ridge(alpha=5e-1)", "Ridge(alpha=2)"}
    figures = client.list_artifacts(root.info.run_id, "figures")
    assert [each.path for each in client.list_artifacts(root.info.run_id, figures[0].path)] == [
        f"{figures[0].path}/draw.png"
    ]


def test_calls_of_one_task_are_named_and_measured_apart(client: MlflowClient) -> None:
    """By the argument that differs; the name that Prefect gave by chance stays in a tag."""
    training()
    assert {run.info.run_name for run in runs_of(client, "fit")} == {"fit alpha=0.5", "fit alpha=2.0"}
    evaluated = runs_of(client, "evaluate")
    assert {run.info.run_name for run in evaluated} == {"evaluate Ridge(alpha=0.5)", "evaluate Ridge(alpha=2.0)"}
    assert all(run.data.tags["prefect.task_run_name"].startswith("evaluate-") for run in evaluated)
    metrics = run_of(client, "training").data.metrics
    assert {"evaluate.Ridge alpha 0.5.r2", "evaluate.Ridge alpha 2.0.r2", "r2"} <= metrics.keys()
    assert run_of(client, "clean").info.run_name.startswith("clean-")


def test_the_metrics_of_an_evaluation_are_the_models(client: MlflowClient) -> None:
    """A task that is given one model and makes none says how good it is, and on what data; NaN stays with the run."""
    training()
    experiment = run_of(client, "training").info.experiment_id
    found = client.search_logged_models([experiment], order_by=[{"field_name": "metrics.r2", "ascending": False}])
    assert [model.name for model in found] == ["Ridge(alpha=5e-1)", "Ridge(alpha=2)"]
    for model in found:
        (metric,) = model.metrics
        assert (metric.key, metric.dataset_name) == ("r2", "rows")


@pytest.mark.parametrize(
    "calls, expected",
    [
        ([("a", "x"), ("b", "x")], {"rate.a", "rate.b"}),
        ([("a", "x"), ("b", "x"), ("a", "y")], {"rate.a x", "rate.b x", "rate.a y"}),
        ([("a", "2026-01-01"), ("a", "2026-01-02")], {"rate.min", "rate.mean", "rate.max"}),
        ([("a", "x"), ("a", "x")], {"rate.min", "rate.mean", "rate.max"}),
        ([(f"kind {number}", "x") for number in range(21)], {"rate.min", "rate.mean", "rate.max"}),
    ],
    ids=["one argument", "two arguments", "days", "alike", "many"],
)
def test_what_tells_calls_apart(client: MlflowClient, calls: list[tuple[str, str]], expected: set[str]) -> None:
    """The fewest arguments that do; days make another metric each night, so there is a summary then, as of many."""

    @flow
    def rating() -> None:
        rate.map(*zip(*calls, strict=True)).wait()

    rating()
    assert run_of(client, "rating").data.metrics.keys() == expected


def test_a_name_of_the_users_own_stays(client: MlflowClient) -> None:
    """What ``task_run_name`` or ``mlflow.runName`` says is no name by chance."""

    @task(task_run_name="at {day}")
    def named(kind: str, day: str) -> None:
        del kind, day

    @task
    def names_itself(kind: str) -> None:
        mlflow.set_tag("mlflow.runName", f"my {kind}")

    @flow
    def naming() -> None:
        named.map(["a", "b"], "x").wait()
        names_itself.map(["a", "b"]).wait()

    naming()
    assert {run.info.run_name for run in runs_of(client, "named")} == {"at x"}
    assert {run.info.run_name for run in runs_of(client, "names_itself")} == {"my a", "my b"}


def test_metrics_that_a_long_evaluation_logs_on_its_way_are_the_models_too(client: MlflowClient) -> None:
    """What was sent before the task ended is the model's when it has ended."""

    @task
    def evaluate_slowly(model: Ridge) -> None:
        flowml.log_metrics({"early": 1.0})
        flowml.flush()
        flowml.log_metrics({"late": 2.0})

    @flow
    def evaluating() -> None:
        evaluate_slowly(fit(ROWS, 1.0))

    evaluating()
    (model,) = client.search_logged_models([run_of(client, "evaluating").info.experiment_id])
    assert {metric.key: metric.value for metric in model.metrics} == {"early": 1.0, "late": 2.0}
    assert run_of(client, "evaluate_slowly").data.metrics == {"early": 1.0, "late": 2.0}


def test_a_registered_version_says_where_it_is_from_and_how_good_it_is(client: MlflowClient) -> None:
    """Its description has the task, the flow, their pages, and the metrics that the model had by then, by dataset."""

    @task
    def register(model: Ridge) -> Annotated[Ridge, Model("champion", register="ridge")]:
        return model

    @flow
    def choosing() -> None:
        model = fit(ROWS, 1.0)
        evaluate(model, ROWS)
        register(model)

    choosing()
    version = client.get_model_version("ridge", "1")
    assert version.description.startswith("champion by the task [register](http")
    assert "of the flow [choosing](http" in version.description
    experiment = run_of(client, "choosing").info.experiment_id
    names = {model.name for model in client.search_logged_models([experiment])}
    assert names == {"Ridge", "champion"}


def test_the_name_in_a_marker_counts_for_a_model_that_was_logged_before(client: MlflowClient) -> None:
    """MLflow cannot rename a model: it is there under both names, and once under each."""

    @task
    def choose(model: Ridge) -> Annotated[Ridge, Model("champion")]:
        return model

    @task
    def again(model: Ridge) -> Annotated[Ridge, Model()]:
        return model

    @flow
    def choosing() -> None:
        again(choose(choose(fit(ROWS, 1.0))))

    choosing()
    found = client.search_logged_models([run_of(client, "choosing").info.experiment_id])
    assert sorted(model.name for model in found) == ["Ridge", "champion"]
