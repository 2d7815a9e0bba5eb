"""What flows make of ``stack.json``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flowml.stack import processes, state
from flowml.stack.processes import Process
from flowml.stack.state import Server, Stack
from flowml.store.backend import connection


def noted(folder: Path, *, prefect: Process, mlflow: Process, ready: bool = True, host: str = "127.0.0.1") -> Stack:
    """Write the file for two processes."""
    stack = Stack(
        id="1",
        prefect=Server("prefect", "http://127.0.0.1:4299", prefect, str(folder / "prefect.log")),
        mlflow=Server("mlflow", "http://127.0.0.1:5099", mlflow, str(folder / "mlflow.log")),
        database=f"sqlite:///{folder}/other.db",
        artifacts=(folder / "files").as_uri(),
        host=host,
        ready=ready,
    )
    state.write(stack)
    return stack


DEAD = Process(os.getpid(), "before the machine was started again")


def test_flows_write_where_the_running_server_shows(project: Path) -> None:
    """They write straight into its database and its artifact folder, and their pages are on that server."""
    me = processes.of(os.getpid())
    stack = noted(project, prefect=me, mlflow=me)
    connected = connection.connect()
    assert connected.uri == stack.database
    experiment = connected.client.get_experiment(connected.experiment_id("a flow"))
    assert experiment.artifact_location == (project / "files" / "a-flow").as_uri()
    assert connected.page_of("1", "2") == "http://127.0.0.1:5099/#/experiments/1/runs/2?workflowType=machine_learning"
    assert state.prefect_api() == "http://127.0.0.1:4299/api"


def test_beside_a_server_that_others_reach_files_go_to_its_folder(project: Path) -> None:
    """The experiment's place is one that the server hands on; flows of this machine write below it without asking."""
    me = processes.of(os.getpid())
    noted(project, prefect=me, mlflow=me, host="0.0.0.0")
    connected = connection.connect()
    experiment = connected.client.get_experiment(connected.experiment_id("a flow"))
    assert experiment.artifact_location == "mlflow-artifacts:/a-flow"
    run = connected.client.create_run(experiment.experiment_id)
    connected.client.log_text(run.info.run_id, "a note", "note.txt")
    assert (project / "files" / "a-flow" / run.info.run_id / "artifacts" / "note.txt").read_text() == "a note"


def test_after_it_they_go_to_the_projects_own(project: Path) -> None:
    """An experiment that a shared server made goes on without it."""
    connected = connection.connect()
    number = connected.client.create_experiment("a flow", artifact_location="mlflow-artifacts:/1")
    run = connected.client.create_run(number)
    connected.client.log_text(run.info.run_id, "a note", "note.txt")
    kept = project / ".flowml" / "artifacts" / "1" / run.info.run_id / "artifacts" / "note.txt"
    assert kept.read_text() == "a note"


@pytest.mark.parametrize("ready", [True, False], ids=["dead", "not ready yet"])
def test_servers_that_do_not_run_are_passed_over(project: Path, *, ready: bool) -> None:
    """What a restart of the machine left, or what is only starting, changes nothing for a flow."""
    me = DEAD if ready else processes.of(os.getpid())
    noted(project, prefect=me, mlflow=me, ready=ready)
    connected = connection.connect()
    assert connected.uri == f"sqlite:///{project}/.flowml/mlflow.db"
    assert connected.page_of("1", "2") is None
    assert state.prefect_api() is None


def test_one_dead_server_is_passed_over_alone(project: Path) -> None:
    """The other is found still."""
    noted(project, prefect=DEAD, mlflow=processes.of(os.getpid()))
    assert state.prefect_api() is None
    assert (
        connection.connect().page_of("1", "2")
        == "http://127.0.0.1:5099/#/experiments/1/runs/2?workflowType=machine_learning"
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 1}', '{"prefect": {}, "mlflow": {}}'])
def test_a_broken_file_is_none(project: Path, text: str) -> None:
    """Half a file, or one of another version, costs no flow anything."""
    state.path().write_text(text)
    assert state.up() is None
    assert connection.connect().uri == f"sqlite:///{project}/.flowml/mlflow.db"


def test_nobody_else_can_read_it(project: Path) -> None:
    """A database's address may hold a password."""
    noted(project, prefect=DEAD, mlflow=DEAD)
    assert state.path().stat().st_mode & 0o077 == 0
