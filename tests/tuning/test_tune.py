"""A search: its trials, its best, and what of it is in MLflow and in Prefect."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import optuna
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.runs import all_runs, flow_run, runs_of

import flowml
from flowml import AtLeast, AtMost, Choice, Float, Int, flow, gate, task, tune

TRAIN, TEST = train_test_split(load_breast_cancer(as_frame=True).frame, random_state=0)


@task
def bowl(x: float, y: int = 0) -> dict[str, float]:
    """Return what is lowest at x = 0.3 and y = 2."""
    return {"loss": (x - 0.3) ** 2 + (y - 2) ** 2, "size": float(y)}


def searched(fit: Any = bowl, *args: Any, **options: Any) -> flowml.Study:
    """Search with a seed, for the same trials each time."""
    sampler = optuna.samplers.TPESampler(seed=0)
    return tune(fit, *args, **{"sampler": sampler, "minimize": "loss", "trials": 6} | options)


def test_each_trial_has_a_run_below_the_search(client: MlflowClient):
    """A search is a flow's run, and each trial a task's run under it, with its arguments, its metric and its number."""
    study = searched(x=Float(0, 1), y=Int(0, 4), trials=12, parallel=3, name="bowl")
    above, trials = flow_run(client), runs_of(client, "bowl")
    assert above.info.run_name == "bowl"
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {above.info.run_id}
    assert sorted(int(run.data.tags["flowml.trial"]) for run in trials) == list(range(12))
    told = {str(trial.number): trial for trial in study.optuna.trials}
    for run in trials:
        trial = told[run.data.tags["flowml.trial"]]
        assert run.data.metrics["loss"] == trial.value
        assert {key: float(value) for key, value in run.data.params.items()} == pytest.approx(trial.params)
    assert study.counts() == {"complete": 12}
    assert above.data.metrics["best.loss"] == study.best.value == min(run.data.metrics["loss"] for run in trials)
    assert {file.path for file in client.list_artifacts(above.info.run_id)} >= {
        "history.png",
        "slice.png",
        "trials.csv",
    }
    assert above.data.tags["mlflow.source.name"] == trials[0].data.tags["mlflow.source.name"] == __file__


def test_the_best_goes_into_the_gate(client: MlflowClient):
    """The best trial has its run and its model, and the gate takes it as it is."""

    @task
    def fit(rows: Any, c: float) -> tuple[Pipeline, dict[str, float]]:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=c))
        model.fit(rows.drop(columns="target"), rows["target"])
        return model, {"accuracy": model.score(TEST.drop(columns="target"), TEST["target"])}

    @flow
    def nightly() -> tuple[flowml.Verdict, str]:
        study = tune(fit, TRAIN, c=Float(1e-3, 10, log=True), maximize="accuracy", trials=1, name="c")
        return gate(study.best, TEST, "target", rules=[AtLeast("accuracy", 0.8)], resamples=100), study.best.run.run_id

    verdict, run_id = nightly()
    assert verdict.passed
    best = flowml.Study.find("c").best
    assert client.get_run(run_id).data.params["c"].startswith(str(best.params["c"])[:5])
    assert verdict.candidate == best.model_id
    assert best.params["c"] == best.model["logisticregression"].C


def test_several_metrics_have_a_front(client: MlflowClient):
    """Of several metrics there is no best, but a front that no other trial beats."""
    space = {"x": Float(0, 1), "y": Int(0, 4)}
    study = searched(**space, minimize=["loss", "size"], sampler=None, trials=15)
    with pytest.raises(flowml.TuningError, match=r"No trial is best by loss and size at once\. Choose one of"):
        _ = study.best
    assert {frozenset(each.values) for each in study.front} == {frozenset({"loss", "size"})}
    files = {file.path for file in client.list_artifacts(flow_run(client).info.run_id)}
    assert files >= {"pareto.png", "importance.png"}


def test_the_best_meets_the_constraints(client: MlflowClient):
    """A trial that misses a constraint is not the best, however good it is."""
    study = searched(x=Float(0, 1), y=Int(0, 4), constraints=[AtMost("size", 1)], trials=12)
    assert study.best.params["y"] <= 1
    assert min(trial.value for trial in study.optuna.trials) < study.best.value


def test_what_is_tried_may_depend_on_a_choice(client: MlflowClient):
    """A function of the trial returns the arguments, where one depends on the other."""

    @task
    def fit(kind: str, depth: int = 0) -> float:
        return depth if kind == "tree" else 5.0

    def space(trial: optuna.Trial) -> dict[str, Any]:
        kind = trial.suggest_categorical("kind", ["tree", "line"])
        return {"kind": kind, "depth": trial.suggest_int("depth", 1, 8)} if kind == "tree" else {"kind": kind}

    study = searched(fit, space=space, trials=8)
    assert {tuple(sorted(trial.params)) for trial in study.optuna.trials} == {("depth", "kind"), ("kind",)}
    assert sorted(run.data.metrics["loss"] for run in runs_of(client, "fit")) == sorted(
        trial.value for trial in study.optuna.trials
    )


class Scores(NamedTuple):
    """What a trial may return, too."""

    model: str
    loss: float


RETURNS: dict[str, Any] = {
    "number": lambda x: x,
    "mapping": lambda x: {"loss": x, "other": 1},
    "pair": lambda x: ("model", {"loss": x}),
    "named": lambda x: Scores("model", x),
    "logged": lambda x: flowml.log(loss=x),
    "by hand": lambda x: mlflow.log_metric("loss", x),
}


@pytest.mark.parametrize("returning", RETURNS.values(), ids=RETURNS)
def test_where_the_metric_is_found(client: MlflowClient, returning: Any):
    """The metric is a number, in a mapping, beside a model, or logged; the run has it under its name."""

    @task
    def fit(x: float) -> Any:
        return returning(x)

    study = searched(fit, x=Float(0, 1), trials=2)
    values = [trial.value for trial in study.optuna.trials]
    assert values == [trial.params["x"] for trial in study.optuna.trials]
    assert sorted(run.data.metrics["loss"] for run in runs_of(client, "fit")) == pytest.approx(sorted(values))


def test_flows_functions_and_coroutines_are_searched(client: MlflowClient):
    """What is searched may be a flow, a plain function, or async; each trial is a task run."""

    @flow
    def whole(x: float) -> float:
        return bowl(x)["loss"]

    def plain(x: float) -> float:
        return x

    @task
    async def later(x: float) -> float:
        await asyncio.sleep(0)
        return x

    for fit in (whole, plain, later):
        study = searched(fit, x=Float(0, 1), trials=2)
        assert study.counts() == {"complete": 2}
    assert len(runs_of(client, "plain")) == len(runs_of(client, "later")) == 2


def test_a_search_in_an_async_flow(client: MlflowClient):
    """In an async flow a thread does the search, which stays a part of the flow."""

    @flow
    async def outer() -> flowml.Study:
        return await asyncio.to_thread(searched, x=Float(0, 1), trials=2)

    assert asyncio.run(outer()).counts() == {"complete": 2}
    above = flow_run(client)
    (inner,) = runs_of(client, "tune")
    assert inner.data.tags["mlflow.parentRunId"] == above.info.run_id


def test_prefect_names_trials_and_their_ends(client: MlflowClient):
    """In Prefect a trial is a task run that is named by its number."""
    searched(x=Float(0, 1), trials=2)
    flow_run_id = flow_run(client).data.tags["prefect.flow_run_id"]
    with get_client(sync_client=True) as prefect:
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

        found = prefect.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])))
    assert {run.name for run in found} <= {"bowl 0", "bowl 1"}


def test_one_that_goes_on_counts_what_was(client: MlflowClient):
    """A search of the same name goes on: there are as many trials as asked for, over all its starts."""
    space = {"x": Float(0, 1), "kind": Choice("a", "b")}

    @task
    def fit(x: float, kind: str) -> float:
        return x + len(kind)

    searched(fit, **space, trials=3, name="on")
    assert searched(fit, **space, trials=5, name="on").counts() == {"complete": 5}
    assert searched(fit, **space, trials=5, name="on").counts() == {"complete": 5}
    assert len(runs_of(client, "fit")) == 5


def test_half_a_line_is_no_loss(client: MlflowClient, project: Path):
    """A process that is killed while it writes leaves half a line: the search goes on, without what was not written."""
    searched(x=Float(0, 1), trials=2, name="torn")
    with (project / ".flowml" / "tune" / "torn.journal").open("ab") as journal:
        journal.write(b'{"op_code":4,"worker_id":"some')
    assert searched(x=Float(0, 1), trials=4, name="torn").counts() == {"complete": 4}


def test_it_ends_with_its_time(client: MlflowClient):
    """After the timeout no other trial is begun; those that run are waited for."""
    study = searched(x=Float(0, 1), trials=10_000, timeout=0.3)
    assert 0 < study.counts()["complete"] < 1000
    assert len(runs_of(client, "bowl")) == study.counts()["complete"]


def test_an_untracked_task_is_searched(client: MlflowClient):
    """A task that is not tracked is searched all the same; nothing of it stands on the search's run."""

    @task(track=False)
    def fit(x: float) -> float:
        flowml.report(0, x)
        return x

    assert searched(fit, x=Float(0, 1), trials=2).counts() == {"complete": 2}
    (run,) = all_runs(client)
    assert "loss" not in run.data.metrics
