"""A run says how many secrets were masked in it or left out of it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from tests.runs import run_of

import flowml
from flowml import Artifact, Track, flow, task


def test_secrets_are_counted_and_scores_are_not(client: MlflowClient) -> None:
    """Those that were given, returned, logged, in an error; a score has a secret's name and is there."""

    @task
    def scored(auth_rate: float = 0.5) -> dict:
        return {"token_f1": 0.9, "password": {"recall": 0.7}, "auth_auc": 0.8}

    @task
    def login(password: str, url: str, config: dict) -> dict:
        flowml.log(api_key="hunter2", user="ada")
        flowml.log_metrics({"token": "hunter2", "loss": 0.1})
        return {"token": "hunter2", "session": {"cookie": "hunter2"}, "loss": 0.2}

    @task
    def failing() -> None:
        msg = "no access for http://ada:hunter2@db"
        raise ValueError(msg)

    @task(track=Track(run="parent"))
    def inside(password: str) -> str:
        return "done"

    @flow
    def main() -> str:
        scored()
        login("hunter2", "http://ada:hunter2@db", {"token": "hunter2", "n": 1})
        failing(return_state=True)
        inside("hunter2")
        inside("hunter3")
        return "done"

    main()
    tag = "flowml.masked_secrets"
    run = run_of(client, "scored")
    assert run.data.metrics == {"token_f1": 0.9, "password.recall": 0.7, "auth_auc": 0.8}
    assert run.data.params == {"auth_rate": "0.5"}
    assert tag not in run.data.tags
    assert run_of(client, "login").data.tags[tag] == "7"
    assert run_of(client, "failing").data.tags[tag] == "1"
    assert run_of(client, "main").data.tags[tag] == "2"
    assert "hunter" not in str([run_of(client, name).to_dictionary() for name in ("login", "failing", "main")])


SCORES = {"token_f1": 0.5, "auth_auc": 0.4, "password.recall": 0.3, "n": 1}
READ = {
    "json": json.loads,
    "yaml": yaml.safe_load,
    "csv": lambda text: [{key: float(cell) for key, cell in row.items()} for row in csv.DictReader(io.StringIO(text))],
}


def file_of(client: MlflowClient, value: Any, name: str) -> tuple[Path, str | None]:
    """Return the file that a task's value is written to, and how many secrets are said to be hidden."""

    @task
    def make() -> object:
        return value

    make.fn.__annotations__["return"] = Annotated[object, Artifact(name)]

    @flow
    def main() -> None:
        make()

    main()
    run = run_of(client, "make")
    return Path(client.download_artifacts(run.info.run_id, name)), run.data.tags.get("flowml.masked_secrets")


@pytest.mark.parametrize("value, ending", [(SCORES, "json"), (SCORES, "yaml"), ([SCORES, SCORES], "csv")])
def test_scores_are_in_a_file_whatever_their_names(client: MlflowClient, value: Any, ending: str) -> None:
    """Numbers about secrets are no secrets, in no format."""
    path, masked = file_of(client, value, f"m.{ending}")
    assert READ[ending](path.read_text()) == value
    assert masked is None


LOGIN = {"token": "hunter2", "pin": 1234, "token_f1": 0.5}


@pytest.mark.parametrize(
    "value, ending, hidden",
    [(LOGIN, "json", 2), (LOGIN, "yaml", 2), ([LOGIN, LOGIN], "csv", 4), ([LOGIN], "html", 2), (LOGIN, "npz", 2)],
)
def test_secrets_in_a_file_are_hidden_and_counted(client: MlflowClient, value: Any, ending: str, hidden: int) -> None:
    """Text and numbers that are secrets are masked in each format, and the run's tag says how many there were."""
    path, masked = file_of(client, value, f"m.{ending}")
    if ending == "npz":
        content = str({name: array.tolist() for name, array in np.load(path).items()})
    else:
        content = path.read_text()
    assert ("hunter2" in content, "1234" in content, "0.5" in content) == (False, False, True)
    assert masked == str(hidden)
