"""What flowml gives to the tests of its users."""

from __future__ import annotations

import sys

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

FLOWS = """
import pandas as pd
from sklearn.linear_model import LinearRegression
from flowml import flow, log_metrics, task

@task
def fit(rows: pd.DataFrame, rate: float) -> LinearRegression:
    for step, loss in enumerate([0.5, 0.25]):
        log_metrics({"loss": loss}, step=step)
    return LinearRegression().fit(rows[["x"]], rows["y"])

@task
def score(number: int) -> dict[str, float]:
    return {"r2": number / 2}

@flow
def training(rate: float = 0.1) -> None:
    rows = pd.DataFrame({"x": [0.0, 1.0], "y": [0.0, 2.0]})
    fit(rows, rate)
    score.map([1, 2]).wait()

@flow
def broken() -> None:
    raise ValueError("no rows")
"""
TESTS = """
import mlflow
import pytest
from flowml.testing import assert_tracked
from flows import broken, training

def test_what_is_tracked(flowml_runs):
    training()
    run = flowml_runs["fit"]
    assert_tracked(run, params={"rate": 0.1}, datasets=["rows"], models=["LinearRegression"], metrics={"loss": 0.25})
    assert_tracked(flowml_runs["training"], artifacts=["reproduce/*"])
    assert run.history("loss") == [0.5, 0.25]
    assert run.parent_id == flowml_runs["training"].run_id
    assert mlflow.sklearn.load_model(run.models["LinearRegression"]).coef_.round(6).tolist() == [2.0]
    assert sorted(each.metrics["r2"] for each in flowml_runs.all("score")) == [0.5, 1.0]
    assert (len(flowml_runs), len(flowml_runs.below(flowml_runs["training"]))) == (4, 3)
    assert b"flowml" in flowml_runs["training"].artifact("reproduce/requirements.txt")

def test_each_test_has_a_store_of_its_own(flowml_runs):
    assert list(flowml_runs) == []
    with mlflow.start_run(run_name="by hand"):
        mlflow.log_metric("m", 1.0)
    assert (flowml_runs["by hand"].kind, flowml_runs["by hand"].metrics) == ("mlflow", {"m": 1.0})

def test_all_that_is_wrong_is_said_at_once(flowml_runs):
    with pytest.raises(ValueError, match="no rows"):
        broken()
    with pytest.raises(AssertionError) as told:
        assert_tracked(flowml_runs["broken"], params={"rate": 1}, metrics={"m": 1}, models=["clf"], artifacts=["*.png"])
    text = str(told.value)
    for part in ("no parameter 'rate'; it has none", "no metric 'm'", "no model 'clf'", "no file matches '*.png'"):
        assert part in text
    assert "it is FAILED, not FINISHED" in text
    assert_tracked(flowml_runs["broken"], status="FAILED")
    with pytest.raises(KeyError, match="No run is called 'brokn'; there are: broken. Did you mean 'broken'"):
        flowml_runs["brokn"]
    with pytest.raises(FileNotFoundError, match="has no file 'a.txt'"):
        flowml_runs["broken"].artifact("a.txt")
"""


def run(pytester: pytest.Pytester, tests: str, *more: str) -> pytest.RunResult:
    """Run a project's tests with flowml's plugin, as pytest loads it where flowml is installed."""
    pytester.makepyfile(flows=FLOWS, test_flows=tests)
    pytester.syspathinsert()
    arguments = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly", "-q", *more]
    if "flowml" not in {name for name, _ in plugins()}:
        arguments += ["-p", "flowml.testing.plugin"]
    return pytester.run(sys.executable, "-m", "pytest", *arguments, timeout=250)


def plugins() -> list[tuple[str, str]]:
    """Return the plugins of pytest that are installed here."""
    from importlib.metadata import entry_points

    return [(each.name, each.value) for each in entry_points(group="pytest11")]


def test_the_kit_shows_what_a_flow_logs(pytester: pytest.Pytester) -> None:
    """The fixture has the runs of its test alone, by name; an assertion names all that is wrong."""
    run(pytester, TESTS).assert_outcomes(passed=3)


def test_who_does_not_use_it_pays_nothing(pytester: pytest.Pytester) -> None:
    """Where no test asks for it, neither Prefect nor MLflow is loaded."""
    tests = "import sys\n\ndef test_it():\n    assert {'prefect', 'mlflow', 'pandas'}.isdisjoint(sys.modules)\n"
    run(pytester, tests).assert_outcomes(passed=1)
