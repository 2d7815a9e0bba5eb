"""What the writer sends, and what it does when MLflow does not take it."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
import threading
import time
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression
from sqlalchemy import event
from sqlalchemy.pool import Pool
from tests.ends.processes import until

import flowml
from flowml import TrackingError, records, settings
from flowml.options import Track
from flowml.store import Run, open_run
from flowml.store.backend.connection import connect
from flowml.store.journal.scratch import Scratch
from flowml.store.sending.writer import writer_of

OWNER = records.Identity(
    name="a run", kind="task", owner="tests", attempt=1, started=0, source=None, tags={}, tag=("", "")
)


@pytest.fixture
def opened(project: Path) -> Run:
    """An open run in the project's store."""
    return open_run(OWNER, track=Track(), parent=None)


@pytest.fixture
def stored(opened: Run) -> MlflowClient:
    """A client that sees what is stored."""
    return connect().client


def data_of(client: MlflowClient, run: Run) -> Any:
    """Return what MLflow has of a run."""
    assert run.info is not None
    return client.get_run(run.info.run_id).data


def test_more_than_one_request_holds_is_sent_in_parts(opened: Run, stored: MlflowClient) -> None:
    """250 params, 250 tags and 2,500 metrics all arrive."""
    found: list[records.Record] = []
    for number in range(250):
        found += [records.Param(f"p{number}", str(number)), records.Tag(f"t{number}", str(number))]
    found += [records.Metric("loss", float(step), step) for step in range(2500)]
    opened.put(found)
    opened.close("FINISHED", 1)
    opened.settle()
    data = data_of(stored, opened)
    assert len(data.params) == 250
    assert {f"t{number}" for number in range(250)} <= data.tags.keys()
    assert opened.info is not None
    assert len(stored.get_metric_history(opened.info.run_id, "loss")) == 2500


def test_the_users_own_params_win(opened: Run, stored: MlflowClient) -> None:
    """A param that the user logged by MLflow keeps the user's value, and nothing else of the batch is lost."""
    opened.put([records.Param("rate", "0.1"), records.Param("depth", "3"), records.Metric("loss", 0.5)])
    assert opened.info is not None
    stored.log_param(opened.info.run_id, "rate", "the user's")
    opened.close("FINISHED", 1)
    opened.settle()
    data = data_of(stored, opened)
    assert data.params == {"rate": "the user's", "depth": "3"}
    assert data.metrics == {"loss": 0.5}


def test_a_long_task_shows_its_metrics_while_it_works(opened: Run, stored: MlflowClient) -> None:
    """Records arrive before the run is closed."""
    opened.put([records.Metric("loss", 0.5)])
    arrived = threading.Event()
    for _ in range(200):
        if data_of(stored, opened).metrics == {"loss": 0.5}:
            arrived.set()
            break
        arrived.wait(0.05)
    assert arrived.is_set()
    opened.close("FINISHED", 1)
    opened.settle()


def test_files_of_all_kinds_are_uploaded(opened: Run, stored: MlflowClient, tmp_path: Path) -> None:
    """Texts, bytes, files and folders are among the artifacts, where they were meant to be."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside.txt").write_text("inside")
    (tmp_path / "single.csv").write_text("a,b")
    opened.put(
        [
            records.Text("notes/long.txt", "a text"),
            records.Blob("data.bin", b"\x00\x01"),
            records.File("tables", tmp_path / "single.csv"),
            records.File("", tmp_path / "folder"),
        ]
    )
    opened.close("FINISHED", 1)
    opened.settle()
    assert opened.info is not None
    root = Path(stored.download_artifacts(opened.info.run_id, ""))
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert files == {"notes/long.txt", "data.bin", "tables/single.csv", "folder/inside.txt"}
    assert (root / "notes" / "long.txt").read_text() == "a text"


def test_the_run_ends_when_its_body_did(opened: Run, stored: MlflowClient) -> None:
    """The end time is the one given, not that of the sending."""
    opened.close("FAILED", 1_700_000_000_000)
    opened.settle()
    assert opened.info is not None
    info = stored.get_run(opened.info.run_id).info
    assert (info.status, info.end_time) == ("FAILED", 1_700_000_000_000)


def test_what_mlflow_refuses_is_told_and_the_rest_is_logged(opened: Run, stored: MlflowClient) -> None:
    """A record that MLflow can never take is told when all is settled; the run has the others and is closed."""
    opened.put([records.Tag("in/../valid", "x"), records.Text("notes.txt", "kept")])
    opened.close("FINISHED", 1)
    with pytest.raises(TrackingError, match=r"in/\.\./valid"):
        opened.settle()
    assert opened.info is not None
    assert stored.get_run(opened.info.run_id).info.status == "FINISHED"
    assert [item.path for item in stored.list_artifacts(opened.info.run_id)] == ["notes.txt"]


def test_a_refusal_in_each_of_several_requests_costs_no_other_record(opened: Run, stored: MlflowClient) -> None:
    """Where two requests hold a tag that MLflow can never take, all other tags and metrics arrive."""
    for part in range(2):
        opened.put([records.Tag(f"in/../valid{part}", "x")])
        opened.put([records.Tag(f"t{part}-{number}", "x") for number in range(99)])
        opened.put([records.Metric(f"m{part}", float(step), step) for step in range(10)])
    opened.close("FINISHED", 1)
    with pytest.raises(TrackingError, match=r"in/\.\./valid0"):
        opened.settle()
    data = data_of(stored, opened)
    assert {f"t{part}-{number}" for part in range(2) for number in range(99)} <= set(data.tags)
    assert data.metrics == {"m0": 9.0, "m1": 9.0}


def test_a_failed_upload_sends_nothing_twice(opened: Run, stored: MlflowClient, project: Path) -> None:
    """When files cannot be uploaded, metrics are in MLflow once, and stay so."""
    (project / ".flowml" / "artifacts").write_text("a file where the folder should be")
    opened.put([records.Metric("loss", 0.5), records.Text("notes.txt", "lost")])
    opened.close("FINISHED", 1)
    with pytest.raises(TrackingError):
        opened.settle()
    with pytest.raises(TrackingError):
        opened.settle()
    assert opened.info is not None
    assert len(stored.get_metric_history(opened.info.run_id, "loss")) == 1


def test_a_store_that_hangs_delays_nobody_and_loses_nothing(
    opened: Run, stored: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store is blocked, logging and closing return at once, settling after the timeout; then all arrives."""
    assert opened.info is not None
    monkeypatch.setenv("FLOWML_TIMEOUT", "0.05")
    settings.reload()
    blocker = sqlite3.connect(connect().uri.removeprefix("sqlite:///"))
    blocker.execute("BEGIN EXCLUSIVE")
    opened.put([records.Param("late", "but not lost")])
    child = open_run(OWNER, track=Track(), parent=opened)
    child.put([records.Metric("inner", 1.0)])
    child.close("FAILED", 2)
    opened.close("FINISHED", 3)
    with pytest.raises(TrackingError, match=r"did not answer .* `flowml sync` sends"):
        opened.settle()
    monkeypatch.setenv("FLOWML_TIMEOUT", "60")
    settings.reload()
    blocker.rollback()
    blocker.close()
    opened.settle()
    assert child.info is not None
    first, second = stored.get_run(opened.info.run_id), stored.get_run(child.info.run_id)
    assert (first.info.status, second.info.status) == ("FINISHED", "FAILED")
    assert first.data.params == {"late": "but not lost"}
    assert second.data.metrics == {"inner": 1}
    assert second.data.tags["mlflow.parentRunId"] == opened.info.run_id


def test_a_model_that_is_sent_early_has_its_runs_params(opened: Run, stored: MlflowClient) -> None:
    """A model that is sent before its run ends has the parameters that MLflow gets at that end."""
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    opened.put([records.Param("rate", "0.1"), records.Model("model", model, "sklearn")])
    assert opened.info is not None
    run_id = opened.info.run_id

    def made() -> list[str]:
        writer_of(connect()).flush()
        return [each.model_id for each in stored.get_run(run_id).outputs.model_outputs]

    (output,) = until(made, "the model is sent")
    assert stored.get_logged_model(output).params == {"rate": "0.1"}
    opened.close("FINISHED", 1)


def test_a_model_given_on_before_it_is_sent_is_logged_once(stored: MlflowClient) -> None:
    """While the sender is busy a second run returns the same model: both link to one logged model."""
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    first, second, third = (open_run(OWNER, track=Track(), parent=None) for _ in range(3))
    go_on = threading.Event()
    busy = blocked(go_on)
    for run in (first, second):
        run.put([records.Model("model", model, "sklearn")])
    third.put([records.ModelInput("model", model)])
    for run in (first, second, third):
        run.close("FINISHED", 1)
    go_on.set()
    busy.result(60)
    first.settle()
    runs = [stored.get_run(run.info.run_id) for run in (first, second, third) if run.info]
    linked = [[output.model_id for output in run.outputs.model_outputs] for run in runs[:2]]
    linked.append([given.model_id for given in runs[2].inputs.model_inputs])
    (logged,) = stored.search_logged_models([runs[0].info.experiment_id])
    assert linked == [[logged.model_id]] * 3


def blocked(go_on: threading.Event) -> Future[bool]:
    """Keep the sender busy until it may go on."""
    done: Future[bool] = Future()
    writer_of(connect())._hand_over((go_on.wait, done))
    return done


def test_a_file_is_logged_as_it_was_when_it_was_given(opened: Run, stored: MlflowClient, tmp_path: Path) -> None:
    """What the user's code writes to a file, or removes, after it was logged does not change what is in MLflow."""
    changed, removed = tmp_path / "changed.csv", tmp_path / "removed.csv"
    changed.write_text("before")
    removed.write_text("still here")
    go_on = threading.Event()
    busy = blocked(go_on)
    opened.put([records.File("", changed), records.File("", removed)])
    changed.write_text("after")
    removed.unlink()
    go_on.set()
    busy.result(60)
    opened.close("FINISHED", 1)
    opened.settle()
    assert opened.info is not None
    root = Path(stored.download_artifacts(opened.info.run_id, ""))
    assert {path.name: path.read_text() for path in root.iterdir()} == {
        "changed.csv": "before",
        "removed.csv": "still here",
    }


def test_a_metric_has_the_time_at_which_it_was_logged(opened: Run, stored: MlflowClient) -> None:
    """The time is not that of the sending, however long that takes."""
    go_on = threading.Event()
    busy = blocked(go_on)
    opened.put([records.Metric("loss", 0.5)])
    logged = time.time()
    assert not go_on.wait(0.3)
    go_on.set()
    busy.result(60)
    opened.close("FINISHED", 1)
    opened.settle()
    assert opened.info is not None
    (point,) = stored.get_metric_history(opened.info.run_id, "loss")
    assert abs(point.timestamp / 1000 - logged) < 0.2


def test_flush_waits_until_all_is_there(opened: Run, stored: MlflowClient) -> None:
    """After `flowml.flush` another program sees what was logged, while the run is still open."""
    opened.put([records.Metric("loss", 0.5)])
    flowml.flush()
    assert data_of(stored, opened).metrics == {"loss": 0.5}


def test_sync_sends_at_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With FLOWML_WRITE=sync what is logged is there when the call that logs it returns."""
    monkeypatch.setenv("FLOWML_WRITE", "sync")
    settings.reload()
    opened = open_run(OWNER, track=Track(), parent=None)
    opened.put([records.Metric("loss", 0.5)])
    assert data_of(connect().client, opened).metrics == {"loss": 0.5}
    opened.close("FINISHED", 1)


def test_a_run_is_closed_without_a_file_that_mlflow_does_not_take(
    opened: Run, stored: MlflowClient, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a file cannot be uploaded all else arrives, and the run is closed and says what is missing."""
    monkeypatch.setenv("FLOWML_TIMEOUT", "0.5")
    settings.reload()
    (project / ".flowml" / "artifacts").write_text("in the way of the folder")
    opened.put([records.Text("note.txt", "a note"), records.Metric("loss", 0.5)])
    opened.close("FINISHED", 1)
    with pytest.raises(TrackingError):
        opened.settle()
    assert opened.info is not None
    run = stored.get_run(opened.info.run_id)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 0.5})
    assert "flowml.tracking_error" in run.data.tags


def write_in_a_child(reached: Any) -> None:
    """Log a run in a forked process."""
    run = open_run(OWNER, track=Track(), parent=None)
    run.close("FINISHED", 1)
    run.settle()
    reached.put(run.info)


def test_a_fork_waits_for_what_is_being_sent(stored: MlflowClient) -> None:
    """A process that is forked while the sender writes can write too."""
    writing = threading.Event()

    def write() -> None:
        with closing(stored._tracking_client.store.engine.raw_connection()) as connection:
            connection.cursor().execute("BEGIN IMMEDIATE")
            writing.set()
            threading.Event().wait(0.5)
            connection.rollback()

    busy = threading.Thread(target=writer_of(connect()).ask, args=(write,))
    busy.start()
    assert writing.wait(20)
    context = multiprocessing.get_context("fork")
    reached = context.Queue()
    process = context.Process(target=write_in_a_child, args=(reached,))
    process.start()
    try:
        busy.join()
        info = reached.get(timeout=60)
        process.join(60)
    finally:
        process.kill()
    assert stored.get_run(info.run_id).info.status == "FINISHED"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_opens_no_store(opened: Run, tmp_path: Path, flowml_empty_store: Path) -> None:
    """Nothing is asked of a database in a forked child that asks for nothing, however many stores the parent has."""
    opened.close("FINISHED", 1)
    opened.settle()
    for number in range(110):  # MLflow remembers a hundred
        shutil.copy(flowml_empty_store, tmp_path / f"{number}.db")
        MlflowClient(f"sqlite:///{tmp_path}/{number}.db")
    asked: list[object] = []

    def note(*about: object) -> None:
        asked.append(about)

    event.listen(Pool, "checkout", note)
    try:
        child = os.fork()
        if not child:
            os._exit(bool(asked))
        assert os.waitpid(child, 0)[1] == 0
    finally:
        event.remove(Pool, "checkout", note)


def drop_in_a_child(scratch: Scratch) -> None:
    """Remove in a forked process what the parent is going to send."""
    scratch.remove()


def test_a_forked_child_leaves_the_parents_files(tmp_path: Path) -> None:
    """What a forked process removes of its parent's files is still there for the parent."""
    scratch = Scratch()
    (scratch.path / "note.txt").write_text("a note")
    process = multiprocessing.get_context("fork").Process(target=drop_in_a_child, args=(scratch,))
    process.start()
    process.join(60)
    process.kill()
    assert (scratch.path / "note.txt").read_text() == "a note"
    scratch.remove()
    assert not scratch.path.exists()
