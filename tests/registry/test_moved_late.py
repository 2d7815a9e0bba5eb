"""Aliases that tasks ask for, whose move is decided and made later: by a sync, or after somebody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from prefect.settings import PREFECT_API_URL
from sklearn.dummy import DummyClassifier
from tests.registry.moved_late import MOVING, fit

from flowml import Model, flow, settings, task
from flowml.cli.app import main
from flowml.registry import history
from flowml.store.ledger import Decision, Ledger
from flowml.store.ledger.moving import Aliases

Versions: TypeAlias = Callable[[str, int], MlflowClient]
BUSY = "The server is busy."
ROOT = Path(__file__).parents[2]


def run_killed(moment: str) -> None:
    """Run the program to where it is killed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    command = [sys.executable, "-m", "tests.registry.moved_late", moment]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.e2e
@pytest.mark.parametrize(
    "moment", [pytest.param(each, marks=[pytest.mark.slow] if each.startswith("after") else []) for each in MOVING]
)
def test_a_sync_carries_out_what_a_killed_process_decided(
    client: MlflowClient, versions: Versions, caplog: pytest.LogCaptureFixture, moment: str
) -> None:
    """The version has its alias, by one decision of its task's, and `previous` follows; nobody is waited for."""
    aliases = Aliases(versions("churn", 1), "churn")
    aliases.move(Decision(kind="move", version="1", alias="champion", who="ada"))
    run_killed(moment)
    with pytest.raises(SystemExit) as ended:
        main(["sync"])
    assert ended.value.code == 0
    assert aliases.now() == {"champion": "2", "previous": "1"}
    entries = aliases.settled("champion")
    assert [(one.decision.version, one.decision.facts.get("how"), one.is_void) for one in entries[1:]] == [
        ("2", "marker", False)
    ]
    assert "waited for" not in caplog.text


@pytest.mark.e2e
def test_a_move_by_hand_stays_that_came_after_a_kill(client: MlflowClient, versions: Versions) -> None:
    """What a killed process had decided is void where somebody has moved the alias since, which the history tells."""
    aliases = Aliases(versions("churn", 1), "churn")
    run_killed("before champion")
    client.set_registered_model_alias("churn", "champion", "1")
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(["sync"])
        assert ended.value.code == 0
    assert [(one.version, one.how) for one in history.moves_in(history.entries_of(client, "churn"))] == [
        ("1", "outside")
    ]
    assert aliases.now() == {"champion": "1"}


def test_a_wait_for_somebody_elses_move_is_no_silence_of_mlflows(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A flow whose version's alias somebody is about to move ends as one without such a wait, and has its own moved."""
    monkeypatch.setenv("FLOWML_TIMEOUT", "1")
    monkeypatch.setattr("flowml.store.sending.timing.STUCK", 0.5)
    monkeypatch.setattr("flowml.store.sending.timing.PER_FILE", 0.0)
    monkeypatch.setattr("flowml.store.ledger.pending._PATIENCE", 3.0)
    client.create_registered_model("churn")
    Ledger(client, "churn").append(Decision(kind="move", version="7", alias="champion", who="ada"))

    @flow
    def training() -> None:
        fit()

    training()
    assert "could not log" not in caplog.text
    assert Aliases(client, "churn").now() == {"champion": "1"}


def test_the_last_model_of_a_flow_is_the_champion(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the first of two models is sent last, as MLflow failed, the second has the alias as without the failure."""
    made: list[str] = []
    ask = MlflowClient.create_model_version

    def fail_once(*args: Any, **kwargs: Any) -> ModelVersion:
        made.append("")
        if len(made) == 1:
            raise MlflowException(BUSY, TEMPORARILY_UNAVAILABLE)
        return ask(*args, **kwargs)

    monkeypatch.setattr(MlflowClient, "create_model_version", fail_once)

    @task
    def fit_one(number: int) -> Annotated[DummyClassifier, Model("clf", register="churn", alias="champion")]:
        return DummyClassifier(random_state=number).fit([[0], [1]], [0, 1])

    @flow
    def training() -> None:
        fit_one(1)
        fit_one(2)

    training()
    champion = client.get_model_version_by_alias("churn", "champion")
    assert client.get_run(champion.run_id).data.params["number"] == "2"
    moves = Aliases(client, "churn").settled("champion")
    assert len(made) == 3
    assert len(moves) == 2
    assert "stays at version" not in caplog.text


@pytest.mark.e2e
def test_a_sync_of_an_older_model_leaves_the_champion(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """What a flow left behind last week is registered, and told of; the model of a later flow keeps the alias."""
    monkeypatch.setattr("flowml.store.ledger.order._CLOCKS", 0)
    monkeypatch.setenv("FLOWML_HOME", str(tmp_path / "last week"))
    monkeypatch.setenv("FLOWML_TRACKING_URI", client.tracking_uri)
    run_killed("before version")
    monkeypatch.delenv("FLOWML_HOME")

    @flow
    def training() -> None:
        fit()

    training()
    assert Aliases(client, "churn").now() == {"champion": "1"}
    monkeypatch.setenv("FLOWML_HOME", str(tmp_path / "last week"))
    settings.reload()
    with pytest.raises(SystemExit) as ended:
        main(["sync"])
    assert ended.value.code == 0
    assert Aliases(client, "churn").now() == {"champion": "1"}
    assert len(client.search_model_versions("name = 'churn'")) == 2
    assert "churn@champion stays at version 1, which was asked for after version 2" in caplog.text
    assert [move.version for move in history.moves_in(history.entries_of(client, "churn"))] == ["1"]
