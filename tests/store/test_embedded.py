"""The store of a project that configured none."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from flowml.store.backend import embedded, mlflow_state
from flowml.store.backend.connection import connect

TRACKED = """
import sys
from flowml import records
from flowml.options import Track
from flowml.store import open_run

owner = records.Identity(
    name=sys.argv[1], kind="task", owner="race", attempt=1, started=0, source=None, tags={}, tag=("", "")
)
run = open_run(owner, track=Track(), parent=None)
run.put([records.Param("who", sys.argv[1]), records.Metric("value", 1.0)])
run.close("FINISHED", 0)
run.settle()
"""


def test_it_is_a_sqlite_file_under_the_projects_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its URI is absolute, and the same from every folder of the project."""
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    assert connect().uri == f"sqlite:///{project}/.flowml/mlflow.db"


def test_it_stays_out_of_version_control(tmp_path: Path) -> None:
    """The folder ignores itself in git."""
    embedded.prepare(f"sqlite:///{tmp_path}/home/mlflow.db")
    assert (tmp_path / "home" / ".gitignore").read_text() == "*\n"


@pytest.mark.usefixtures("project")
def test_it_uses_the_write_ahead_log() -> None:
    """Readers do not block the writer."""
    uri = connect().uri
    assert sqlite3.connect(uri.removeprefix("sqlite:///")).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_two_processes_may_start_at_once(tmp_path: Path) -> None:
    """Two processes that both find no store make one together, and both are tracked in one experiment."""
    (tmp_path / "pyproject.toml").touch()
    racers = [
        subprocess.Popen([sys.executable, "-c", TRACKED, name], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    for racer in racers:
        _, errors = racer.communicate(timeout=100)
        assert racer.returncode == 0, errors
    database = sqlite3.connect(tmp_path / ".flowml" / "mlflow.db")
    assert sorted(database.execute("SELECT value FROM params WHERE key = 'who'")) == [("one",), ("two",)]
    assert database.execute("SELECT count(*) FROM experiments WHERE name = 'race'").fetchone() == (1,)


@pytest.mark.parametrize(
    "given,expected",
    [
        pytest.param("sqlite:///runs.db", "sqlite:///{here}/runs.db", id="relative"),
        pytest.param("sqlite:////var/runs.db", "sqlite:////var/runs.db", id="absolute"),
        pytest.param("postgresql://host/db", "postgresql://host/db", id="another database"),
    ],
)
def test_a_relative_sqlite_uri_is_made_absolute(project: Path, given: str, expected: str) -> None:
    """It names the same file in a worker that runs in another folder."""
    assert mlflow_state.absolute(given) == expected.format(here=project)


BEFORE = """
import mlflow
from flowml import records
from flowml.options import Track
from flowml.store import open_run

def track(name):
    owner = records.Identity(
        name=name, kind="flow", owner=name, attempt=1, started=1, source=None, tags={}, tag=("", "")
    )
    run = open_run(owner, track=Track(), parent=None)
    run.close("FINISHED", 2)
    run.settle()
    return run.info

with mlflow.start_run() as outer:
    inside = track("inside")
    mlflow.log_metric("still", 1.0)
assert mlflow.get_run(inside.run_id).data.tags["mlflow.parentRunId"] == outer.info.run_id
chosen = mlflow.set_experiment("mine")
assert track("chosen").experiment_id == chosen.experiment_id
"""


def test_mlflow_that_is_in_use_already_is_used(tmp_path: Path) -> None:
    """A script that opened a run, or chose an experiment, before its first flow has the flow in the same store."""
    (tmp_path / "pyproject.toml").touch()
    ran = subprocess.run([sys.executable, "-c", BEFORE], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert not (tmp_path / ".flowml").exists()
