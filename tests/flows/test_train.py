"""``flows/train.py`` as a user runs it: on real data, in its own process, with nothing configured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from sklearn.datasets import load_breast_cancer
from tests.runs import flow_run, parent_of, run_of, runs_of

pytestmark = pytest.mark.e2e

TRAIN = Path(__file__).parents[2] / "flows" / "train.py"


def train(*arguments: str, folder: Path, api_url: str) -> subprocess.CompletedProcess[str]:
    """Run the script in an empty project folder."""
    import os

    environment = {**os.environ, "PREFECT_API_URL": api_url, "FLOWML_HOME": str(folder / ".flowml")}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.run(
        [sys.executable, str(TRAIN), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.fixture(scope="module")
def api_url(prefect_server: None) -> str:
    """The address of the session's Prefect server."""
    from prefect.settings import PREFECT_API_URL

    return str(PREFECT_API_URL.value())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, api_url: str) -> Path:
    """The folder in which the flow ran once."""
    folder = tmp_path_factory.mktemp("trained")
    done = train(folder=folder, api_url=api_url)
    assert done.returncode == 0, done.stderr
    assert "flowml:" not in done.stderr
    return folder


@pytest.fixture
def store(trained: Path, project: Path) -> MlflowClient:
    """A client of the store that the flow left."""
    mlflow.set_tracking_uri(f"sqlite:///{trained}/.flowml/mlflow.db")
    return MlflowClient()


def artifacts(client: MlflowClient, run: Run) -> list[str]:
    """Return the paths of a run's files."""
    return [item.path for item in client.list_artifacts(run.info.run_id)]


def test_it_leaves_one_run_for_the_flow_and_each_task(store: MlflowClient) -> None:
    """There is one parent, and a finished child for each of the fifteen task runs."""
    root = flow_run(store)
    counts = {name: len(runs_of(store, name)) for name in ("validate", "split", "fit", "evaluate", "register")}
    assert counts == {"validate": 1, "split": 1, "fit": 6, "evaluate": 6, "register": 1}
    children = [run for name in counts for run in runs_of(store, name)]
    assert {parent_of(run) for run in children} == {root.info.run_id}
    assert {run.info.status for run in (root, *children)} == {"FINISHED"}


def test_the_flows_return_value_is_on_its_run(store: MlflowClient) -> None:
    """The winner and its scores are those of the best candidate's own run."""
    root = flow_run(store)
    best = max(runs_of(store, "evaluate"), key=lambda run: run.data.metrics["roc_auc"])
    assert {key: root.data.metrics[key] for key in best.data.metrics} == best.data.metrics
    assert set(best.data.metrics) == {"accuracy", "roc_auc", "log_loss"}
    assert best.data.metrics["roc_auc"] > 0.98
    assert root.data.params["winner"].startswith("LogisticRegression(")
    assert root.data.params["target"] == "target"


def test_the_data_is_logged_with_its_schema(store: MlflowClient) -> None:
    """Inputs and outputs are MLflow datasets: names, roles, columns, rows."""
    split = run_of(store, "split")
    found: dict[tuple[str, str], Any] = {
        (item.dataset.name, item.tags[0].value): item.dataset for item in split.inputs.dataset_inputs
    }
    assert set(found) == {("table", "input"), ("train", "output"), ("test", "output")}
    table = found["table", "input"]
    assert json.loads(table.profile)["num_rows"] == 569
    columns = json.loads(table.schema)["mlflow_colspec"]
    assert len(columns) == 31
    assert columns[0] == {"type": "double", "name": "mean radius", "required": True}
    (fitted_on,) = run_of(store, "register").inputs.dataset_inputs
    assert fitted_on.dataset.digest == found["test", "output"].digest


def test_the_figures_are_there(store: MlflowClient) -> None:
    """The winner's confusion matrix and ROC curve are pictures among the artifacts."""
    run = run_of(store, "register")
    assert {"confusion_matrix.png", "roc_curve.png"} <= set(artifacts(store, run))
    picture = Path(store.download_artifacts(run.info.run_id, "roc_curve.png")).read_bytes()
    assert picture.startswith(b"\x89PNG")


def test_each_candidate_is_a_model_that_loads_and_predicts(store: MlflowClient) -> None:
    """The six models load with their signature, without the target column, and predict what was measured."""
    frame = load_breast_cancer(as_frame=True).frame
    inputs, truth = frame.drop(columns="target"), frame["target"]
    for run in runs_of(store, "fit"):
        (output,) = run.outputs.model_outputs
        model = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
        assert model.metadata.signature, run.data.tags  # which say why, if it has none
        assert model.metadata.signature.inputs.input_names() == list(inputs.columns)
        assert np.mean(model.predict(inputs) == truth) > 0.95
        kind = run.data.params["candidate"].partition("(")[0]
        assert kind in {"LogisticRegression", "RandomForestClassifier", "GradientBoostingClassifier"}


def test_the_winner_is_registered_once(store: MlflowClient) -> None:
    """The champion is version 1 of the registered model, and is one of the six logged models, not a copy."""
    assert len(store.search_model_versions("name = 'classifier'")) == 1
    version = store.get_model_version_by_alias("classifier", "champion")
    assert str(version.version) == "1"
    candidates = {output.model_id for run in runs_of(store, "fit") for output in run.outputs.model_outputs}
    assert version.source.removeprefix("models:/") in candidates
    frame = load_breast_cancer(as_frame=True).frame
    champion = mlflow.pyfunc.load_model("models:/classifier@champion")
    assert np.mean(champion.predict(frame.drop(columns="target")) == frame["target"]) > 0.95


@pytest.mark.slow
def test_it_takes_a_users_own_table(tmp_path: Path, api_url: str) -> None:
    """A CSV file with words, gaps and a named target is trained on."""
    rng = np.random.default_rng(0)
    rows = ["age,plan,churned"]
    for _ in range(200):
        age, plan = rng.integers(18, 80), rng.choice(["basic", "pro"])
        rows.append(f"{age},{plan},{'yes' if (age > 50) ^ (rng.random() < 0.1) else 'no'}")
    table = tmp_path / "churn.csv"
    table.write_text("\n".join([*rows, "33,,no"]))
    done = train("--data", str(table), "--target", "churned", folder=tmp_path, api_url=api_url)
    assert done.returncode == 0, done.stderr
    root = flow_run(MlflowClient(f"sqlite:///{tmp_path}/.flowml/mlflow.db"))
    assert root.data.metrics["accuracy"] > 0.7
    assert root.data.params["target"] == "churned"


@pytest.mark.parametrize(
    "content,expected",
    [
        pytest.param(None, "there is no file {table}", id="no file"),
        pytest.param("age,plan\n1,a\n", "there is no column 'churned'; there are age, plan", id="no column"),
    ],
)
def test_a_missing_file_or_column_is_one_line(tmp_path: Path, api_url: str, content: str | None, expected: str) -> None:
    """It says so in one line and exits with 2, before anything runs."""
    table = tmp_path / "churn.csv"
    if content:
        table.write_text(content)
    done = train("--data", str(table), "--target", "churned", folder=tmp_path, api_url=api_url)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == f"train.py: {expected.format(table=table)}"
