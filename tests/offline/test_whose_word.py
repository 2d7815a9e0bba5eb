"""Which store offline runs go to, which version an alias stays with, and whose a name is, where two have a say."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tests.offline.conftest import MEANT
from tests.offline.test_later import Flowml, named, synced

OTHER = "http://other.invalid:5000"


def test_runs_of_one_flow_for_two_stores(
    offline_project: Path,
    prefect_server: None,
    flowml: Flowml,
    flowml_empty_store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which store the earlier ones were meant for is not forgotten: it asks, and once they are copied no more."""
    script = offline_project / "train.py"
    script.write_text("from flowml import flow\n\n\n@flow\ndef train():\n    return 1\n\n\ntrain()\n")
    for uri in (MEANT, OTHER):
        environment = {**os.environ, "MLFLOW_TRACKING_URI": uri}
        subprocess.run([sys.executable, script], env=environment, check=True, timeout=100, capture_output=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", OTHER)
    said = flowml("sync")
    assert said.code == 2
    assert f"these runs are meant for several stores: {MEANT}, {OTHER}." in said.err
    shutil.copy(flowml_empty_store, offline_project / "team.db")
    team = f"sqlite:///{offline_project}/team.db"
    assert flowml("sync", "--to", team).out.startswith("2 runs")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team)
    assert flowml("sync").out.startswith("Nothing new")


def champion(client: MlflowClient) -> str:
    """Return the version that is champion."""
    return str(client.get_model_version_by_alias("churn", "champion").version)


def test_a_name_that_a_prompt_has_there(source: MlflowClient, to: MlflowClient, flowml: Flowml) -> None:
    """A registered model stays here then, one line says so, and all else is copied."""
    to.register_prompt("churn", "Who leaves?")
    said = synced(flowml, to)
    assert "Not taken there: the registered model 'churn': a prompt has that name there." in said
    assert named(to, "root").info.status == "FINISHED"
    assert [one.info.run_name for one in (named(to, "first"), named(to, "second"))] == ["first", "second"]
    synced(flowml, to, "--prune")
    assert source.get_model_version("churn", "1").aliases == ["champion"]


def test_an_alias_that_goes_back_to_an_earlier_version(
    small: Path, source: MlflowClient, team: MlflowClient, flowml: Flowml
) -> None:
    """What was said last here counts there, though the version that gets it is older; unless it was moved there."""
    run = named(source, "second").info
    source.create_model_version("churn", source.get_model_version("churn", "1").source, run.run_id)
    with closing(sqlite3.connect(small / ".flowml" / "offline.db")) as database:
        database.execute("UPDATE model_versions SET creation_time = creation_time - 600000 WHERE version = 1")
        database.commit()
    source.set_registered_model_alias("churn", "champion", "2")
    synced(flowml, team)
    assert champion(team) == "2"
    source.set_registered_model_alias("churn", "champion", "1")
    synced(flowml, team)
    assert champion(team) == "1"
    team.set_registered_model_alias("churn", "champion", "2")
    source.set_model_version_tag("churn", "1", "seen", "yes")
    synced(flowml, team)
    assert team.get_model_version("churn", "1").tags["seen"] == "yes"
    assert champion(team) == "2"
