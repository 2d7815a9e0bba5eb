"""``flows/nightly.py`` and those around it as a user runs them, over a champion that is bad at first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL
from sklearn.datasets import load_breast_cancer
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from tests.runs import run_of, runs_of

from flowml import Model, flow, task

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]

FLOWS = Path(__file__).parents[2] / "flows"


def run(script: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in the project's folder."""
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value()), "FLOWML_HOME": f"{folder}/.flowml"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [sys.executable, str(FLOWS / script), *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=150, check=False
    )


def test_the_better_one_is_promoted_and_scores(client: MlflowClient, project: Path) -> None:
    """A bad champion is beaten, the good one is not beaten by itself; what is scored is scored by the good one."""
    frame = load_breast_cancer(as_frame=True).frame

    @task
    def guess() -> Annotated[Pipeline, Model(register="classifier", alias="champion")]:
        return make_pipeline(DummyClassifier(strategy="prior")).fit(frame.drop(columns="target"), frame["target"])

    @flow
    def guessing() -> None:
        guess()

    guessing()
    done = run("monitoring.py", folder=project)
    assert done.returncode == 0, done.stderr
    assert run_of(client, "monitoring").data.metrics["evaluate_champion.roc_auc"] == 0.5
    for _ in range(2):
        done = run("nightly.py", folder=project)
        assert done.returncode == 0, done.stderr
        assert "flowml:" not in done.stderr.replace("flowml: gate:", "")
    first, second = runs_of(client, "nightly")
    assert first.data.metrics["champion"] == 0.5
    assert first.data.metrics["challenger"] > 0.98
    assert second.data.metrics["champion"] == second.data.metrics["challenger"] == first.data.metrics["challenger"]
    assert str(client.get_model_version_by_alias("classifier", "champion").version) == "2"
    assert len(client.search_model_versions("name = 'classifier'")) == 2

    frame.drop(columns="target").tail(20).to_csv(project / "new.csv", index=False)
    done = run("score.py", "--data", "new.csv", folder=project)
    assert done.returncode == 0, done.stderr
    scored = run_of(client, "scoring")
    assert (scored.data.metrics["rows"], scored.data.params["champion"]) == (20, "2")
    mlflow.set_tracking_uri(f"sqlite:///{project}/.flowml/mlflow.db")
    champion = mlflow.pyfunc.load_model("models:/classifier@champion")
    predictions = pd.read_csv(project / "predictions.csv")
    assert list(predictions["prediction"]) == list(champion.predict(predictions.drop(columns="prediction")))
    saved = run_of(client, "save")
    assert [item.path for item in client.list_artifacts(saved.info.run_id)] == ["predictions.csv"]


@pytest.mark.parametrize("script", ["nightly.py", "monitoring.py", "score.py"])
def test_a_missing_file_is_one_line(script: str, project: Path, prefect_server: None) -> None:
    """It says so in one line and exits with 2, before anything runs."""
    done = run(script, "--data", "no.csv", folder=project)
    assert (done.returncode, done.stderr) == (2, f"{script}: there is no file no.csv\n")


def test_without_a_champion_nothing_is_scored(client: MlflowClient, project: Path) -> None:
    """The flow fails, and MLflow's error names the model that is not there."""
    done = run("score.py", folder=project)
    assert done.returncode == 1
    assert "Registered Model with name=classifier not found" in done.stderr
    assert run_of(client, "scoring").info.status == "FAILED"
