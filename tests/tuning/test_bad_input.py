"""What cannot be searched is said before anything runs, or by one clear outcome."""

from __future__ import annotations

from functools import partial
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient
from prefect.states import Completed, Failed
from tests.runs import all_runs, flow_run, runs_of

import flowml
from flowml import AtMost, Better, Choice, Float, Int, Study, TuningError, task, tune

RATE = Float(0, 1)
GRID = optuna.samplers.GridSampler({"rate": [0.1, 0.9]})


@task
def fit(rows: list[int], rate: float, depth: int = 1) -> dict[str, float]:
    """Return one metric."""
    return {"auc": rate}


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a parameter is missing": ({"depth": Int(1, 2)}, TuningError, "fit needs 'rate', which is neither tried nor given"),
    "one is unknown": ({"rate": RATE, "dept": Int(1, 2)}, TuningError, "no argument 'dept'.* Did you mean 'depth'"),
    "one is there twice": ({"rate": RATE, "rows": [1]}, TuningError, "given 'rows' twice"),
    "nothing is tried": ({"rate": 0.1}, TuningError, "nothing to try"),
    "an option is misspelt": ({"rate": RATE, "trails": 3}, TypeError, "no option 'trails'.*Did you mean 'trials'"),
    "a direction is misspelt": ({"rate": RATE, "maximise": "auc"}, TypeError, "'maximise'.*Did you mean 'maximize'"),
    "no metric is named": ({"rate": RATE, "maximize": ()}, TuningError, "does not know what is better"),
    "a metric is named twice": ({"rate": RATE, "minimize": "auc"}, TuningError, "'auc' is named twice"),
    "a metric is no text": ({"rate": RATE, "maximize": 3}, TypeError, "name of a metric or a list of names, not 3"),
    "trials are none": ({"rate": RATE, "trials": 0}, ValueError, "trials=0"),
    "parallel is no number": ({"rate": RATE, "parallel": "8"}, TypeError, "whole number, not '8'"),
    "the time is over": ({"rate": RATE, "timeout": 0}, ValueError, "timeout=0"),
    "a sampler is a class": ({"rate": RATE, "sampler": optuna.samplers.TPESampler}, TypeError, "TPESampler.seed=0"),
    "a constraint compares": ({"rate": RATE, "constraints": [Better("auc")]}, TypeError, "takes a list of AtMost"),
    "space is a list": ({"space": [RATE]}, TypeError, "a function of Optuna's trial or a mapping"),
    "space fails": ({"space": lambda trial: trial.suggest_fload("rate", 0, 1)}, TuningError, "space= failed: Attribu"),
    "space returns less": ({"space": lambda _: {"depth": 1}}, TuningError, "fit needs 'rate'"),
    "a storage of another kind": ({"rate": RATE, "storage": "redis://host"}, TuningError, "postgresql://user@host"),
    "the name is empty": ({"rate": RATE, "name": " "}, TypeError, "a name for the study"),
}


@pytest.mark.parametrize("given, kind, match", WRONG.values(), ids=WRONG)
def test_it_is_said_before_anything_runs(project: Any, given: dict[str, Any], kind: type[Exception], match: str):
    """What is wrong is named with its value, and nothing was begun."""
    with pytest.raises(kind, match=match):
        tune(fit, [1], **{"maximize": "auc"} | given)
    assert not list((project / ".flowml").glob("tune/*"))


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: Float(1, 0), "no interval"),
        (lambda: Float(0, 1, log=True), "low is above 0"),
        (lambda: Int(1, 2.5), "Int.high=....* takes a whole number, not 2.5"),
        (lambda: Float("0", 1), "takes a number, not '0'"),
        (Choice, "nothing to choose from"),
        (lambda: Choice([1], [2]), r"text, numbers, booleans and None, not \[1\]"),
    ],
)
def test_a_space_that_cannot_be(make: Any, match: str):
    """Bounds and choices that make no sense are said where they are written."""
    with pytest.raises((TypeError, ValueError), match=match):
        make()


def test_a_metric_that_is_not_returned_ends_the_search(client: MlflowClient):
    """One clear outcome after the first trial, which does not count: the mended task goes on under the same name."""
    with pytest.raises(TuningError, match=r"no metric 'auk'.*did you mean 'auc'.*its metrics are: auc"):
        tune(fit, [1], rate=RATE, maximize="auk", trials=50, name="auk")
    assert len(runs_of(client, "fit")) == 1
    assert flow_run(client).info.status == "FAILED"

    @task(name="fit")
    def mended(rows: list[int], rate: float) -> dict[str, float]:
        return {"auk": rate}

    assert tune(mended, [1], rate=RATE, maximize="auk", trials=2, name="auk").counts() == {"failed": 1, "complete": 2}


def test_a_task_that_always_fails_ends_the_search(client: MlflowClient):
    """After many failures and no success the search says so, with the last reason."""

    @task
    def broken(x: float) -> float:
        raise KeyError("column")

    with pytest.raises(TuningError, match=r"All 20 trials of .* failed, and none ended well.*column"):
        tune(broken, x=RATE, maximize="auc", trials=200, parallel=4)
    assert len(runs_of(client, "broken")) < 30


def test_a_study_of_another_space(client: MlflowClient):
    """Another space or another aim under the same name is refused, with both."""
    tune(fit, [1], rate=RATE, maximize="auc", trials=1, name="mine")
    with pytest.raises(TuningError, match=r"'mine' .* tries rate=Float\(0, 1\); this call .* tries rate=Float\(0, 2\)"):
        tune(fit, [1], rate=Float(0, 2), maximize="auc", name="mine")
    with pytest.raises(TuningError, match=r"is for maximize auc; this call of .* is for minimize auc"):
        tune(fit, [1], rate=RATE, minimize="auc", name="mine")
    with pytest.raises(TuningError, match="AtMost"):
        tune(fit, [1], rate=RATE, maximize="auc", constraints=[AtMost("auc", 1)], name="mine")
    assert len([run for run in all_runs(client) if "flowml.trial" in run.data.tags]) == 1


def test_a_study_that_is_not_there(project: Any):
    """A study is looked for by its name, and the nearest is named."""
    with pytest.raises(TuningError, match=r"no study 'mine' in this project\. There is none yet"):
        Study.find("mine")


def test_what_has_no_best_says_why(client: MlflowClient):
    """Where no trial meets the constraints there is no best, and that is said; the search itself ends well."""
    study = tune(fit, [1], rate=RATE, maximize="auc", constraints=[AtMost("auc", -1)], trials=2, name="none")
    with pytest.raises(TuningError, match=r"no best trial, for no trial meets the constraints: 2 complete"):
        _ = study.best
    assert flow_run(client).info.status == "FINISHED"
    with pytest.raises(TuningError, match="has no model: its task returned none"):
        _ = tune(fit, [1], rate=RATE, maximize="auc", trials=1, name="some").best.model_id
    with pytest.raises(TuningError, match=r"Did you mean .*'none'"):
        flowml.Study.find("nome")


def test_a_trial_that_returns_a_state_ends_as_that(client: MlflowClient) -> None:
    """A failed state is one failed trial, and a completed one holds what counts."""

    @task
    def ends(rate: float) -> Any:
        return Failed(message="not this one") if rate < 0.5 else Completed(data={"auc": rate})

    study = tune(ends, rate=Choice(0.1, 0.9), maximize="auc", trials=2, sampler=GRID)
    assert study.best.value == 0.9
    assert study.counts() == {"complete": 1, "failed": 1}


@pytest.mark.slow
def test_what_has_no_name_and_a_name_that_is_long(client: MlflowClient) -> None:
    """A partial function is named by its function; a study's name may be longer than that of a file."""
    study = tune(partial(fit.fn, [1]), rate=RATE, maximize="auc", trials=1)
    assert study.name.startswith("fit-")
    assert tune(fit, [1], rate=RATE, maximize="auc", trials=1, name="n" * 300).counts() == {"complete": 1}


def test_a_report_counts_where_nothing_is_tracked(client: MlflowClient) -> None:
    """Without tracking a trial's last report is its value."""

    @task
    def reporting(rate: float) -> None:
        flowml.report(0, rate)

    with flowml.disabled():
        assert tune(reporting, rate=RATE, maximize="auc", trials=2).best.value > 0
