"""A run says how many secrets were masked in it or left out of it."""

from __future__ import annotations

from mlflow import MlflowClient
from tests.runs import run_of

import flowml
from flowml import Track, flow, task


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
