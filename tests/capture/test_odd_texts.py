"""Texts that no database takes, lone surrogates and NUL, cost no record and no run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from mlflow import MlflowClient
from tests.runs import all_runs, flow_run, run_of, runs_of

import flowml
from flowml import Artifact, Dataset, Model, Track, flow, task

ODD = "a\ud800b\0c"
SHOWN, KEY = "a\\ud800b\\x00c", "a_ud800b_x00c"


class OddError(Exception):
    """An error whose name is odd too."""


OddError.__qualname__ = f"Odd{ODD}"


def files(client: MlflowClient, run: Any) -> set[str]:
    """Return the names of a run's files."""
    return {file.path for file in client.list_artifacts(run.info.run_id)}


def test_odd_texts_cost_no_record(client: MlflowClient, project: Path) -> None:
    """As a value, a key, a name of a file, model or dataset, in an error, in tags and in what runs are called."""

    @task
    def values(text: str, nest: dict) -> dict:
        flowml.log(**{f"n{ODD}": 1.0})
        flowml.log_params({ODD: ODD})
        return {ODD: 2.0, "long": ODD * 100, "text": ODD}

    @task(name=f"task [{ODD}]", task_run_name=f"run {ODD}", track=Track(tags={f"tag {ODD}": ODD, "a=b": "c"}))
    def named() -> float:
        return 3.0

    @task
    def failing() -> None:
        raise OddError(ODD)

    @task
    def file() -> Path:
        path = project / os.fsdecode(b"f\xff.txt")
        path.write_text("text")
        return path

    @task
    def marked(rows: Annotated[list, Dataset(f"d{ODD}")]) -> Annotated[dict, Artifact("a\ud800b.json")]:
        return {ODD: ODD}

    @task
    def model() -> Annotated[object, Model(f"m{ODD}")]:
        from sklearn.linear_model import LinearRegression

        return LinearRegression().fit([[0], [1]], [0, 1])

    @task(name=f"../../{ODD}")
    def folded() -> float:
        return 4.0

    @flow(track=Track(children="none"))
    def many() -> str:
        folded()
        return "done"

    @flow(track=Track(on_error="raise"))
    def main() -> str:
        values(ODD, {ODD: ODD})
        named()
        failing(return_state=True)
        file()
        marked([{"x": 1}, {"x": 2}])
        model()
        many()
        return "done"

    assert main() == "done"
    run = run_of(client, "values")
    assert run.data.params == {"text": SHOWN, f"nest.{KEY}": SHOWN, KEY: SHOWN}
    assert run.data.metrics == {f"n{KEY}": 1.0, KEY: 2.0}
    assert "long.txt" in files(client, run)
    run = run_of(client, f"task [{SHOWN}]")
    assert run.info.run_name == f"run {SHOWN}"
    assert run.data.metrics == {f"task _{KEY}_": 3.0}
    assert (run.data.tags[f"tag {KEY}"], run.data.tags["a_b"]) == (SHOWN, "c")
    run = run_of(client, "failing")
    assert (run.data.tags["flowml.error_type"], run.data.tags["flowml.error"]) == (f"Odd{SHOWN}", SHOWN)
    assert "traceback.txt" in files(client, run)
    assert files(client, run_of(client, "file")) == {"f\\udcff.txt"}
    assert "a_ud800b.json" in files(client, run_of(client, "marked"))
    (found,) = run_of(client, "marked").inputs.dataset_inputs
    assert found.dataset.name == f"d{SHOWN}"
    assert run_of(client, "model").outputs.model_outputs
    (many_run,) = runs_of(client, "many")
    tables = {each.path for each in client.list_artifacts(many_run.info.run_id, "children")}
    assert {path for path in tables if path.endswith(".csv")} == {f"children/_.._{KEY}.csv"}
    top = flow_run(client)
    assert top.data.metrics[f"task _{KEY}_"] == 3.0
    assert SHOWN.replace("\\", "&#92;") in top.data.tags["mlflow.note.content"]
    assert {run.info.status for run in all_runs(client)} == {"FINISHED", "FAILED"}
