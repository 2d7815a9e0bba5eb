"""Aliases that tasks ask for, whose move is decided and made later: by a sync, or after somebody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeAlias

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL
from sklearn.dummy import DummyClassifier
from tests.registry.moved_late import MOMENTS

from flowml import Model, flow, task
from flowml.cli.app import main
from flowml.store.ledger import Decision, Ledger
from flowml.store.ledger.moving import Aliases

Versions: TypeAlias = Callable[[str, int], MlflowClient]
ROOT = Path(__file__).parents[2]


def run_killed(moment: str) -> None:
    """Run the program to where it is killed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    command = [sys.executable, "-m", "tests.registry.moved_late", moment]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.e2e
@pytest.mark.parametrize("moment", MOMENTS)
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

    @task
    def fit() -> Annotated[DummyClassifier, Model("clf", register="churn", alias="champion")]:
        return DummyClassifier().fit([[0], [1]], [0, 1])

    @flow
    def training() -> None:
        fit()

    training()
    assert "could not log" not in caplog.text
    assert Aliases(client, "churn").now() == {"champion": "1"}
