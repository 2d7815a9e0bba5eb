"""What the writer sends, and what it does when MLflow does not take it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from flowml import TrackingError, records, settings
from flowml.options import Track
from flowml.store import Run, open_run
from flowml.store.connection import connect

OWNER = records.Identity(name="a run", kind="task", owner="tests", attempt=1, source=None, tags={})


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
    data = data_of(stored, opened)
    assert len(data.params) == 250
    assert {f"t{number}" for number in range(250)} <= data.tags.keys()
    assert opened.info is not None
    assert len(stored.get_metric_history(opened.info.run_id, "loss")) == 2500


def test_a_param_that_changes_is_sent_once(opened: Run, stored: MlflowClient) -> None:
    """Params of one key coalesce to the last, where MLflow would refuse the second."""
    opened.put([records.Param("rate", "0.1")])
    opened.put([records.Param("rate", "0.2")])
    opened.close("FINISHED", 1)
    assert data_of(stored, opened).params == {"rate": "0.2"}


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
    assert opened.info is not None
    root = Path(stored.download_artifacts(opened.info.run_id, ""))
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert files == {"notes/long.txt", "data.bin", "tables/single.csv", "folder/inside.txt"}
    assert (root / "notes" / "long.txt").read_text() == "a text"


def test_the_run_ends_when_its_body_did(opened: Run, stored: MlflowClient) -> None:
    """The end time is the one given, not that of the sending."""
    opened.close("FAILED", 1_700_000_000_000)
    assert opened.info is not None
    info = stored.get_run(opened.info.run_id).info
    assert (info.status, info.end_time) == ("FAILED", 1_700_000_000_000)


def test_what_mlflow_refuses_is_an_error_and_the_run_is_closed(opened: Run, stored: MlflowClient) -> None:
    """A record that MLflow cannot take is told when the run is closed, and does not leave it open."""
    opened.put([records.Param("in/../valid", "x")])
    with pytest.raises(TrackingError, match=r"in/\.\./valid"):
        opened.close("FINISHED", 1)
    assert opened.info is not None
    assert stored.get_run(opened.info.run_id).info.status == "FINISHED"


def test_a_store_that_hangs_costs_the_timeout_once(
    opened: Run, stored: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When MLflow does not answer in time there is an error, and the next call does not wait again."""
    import sqlite3

    monkeypatch.setenv("FLOWML_TIMEOUT", "0.3")
    settings.reload()
    blocker = sqlite3.connect(connect().uri.removeprefix("sqlite:///"))
    blocker.execute("BEGIN EXCLUSIVE")
    opened.put([records.Param("late", "but not lost")])
    with pytest.raises(TrackingError, match=r"did not answer within 0.3 s. Check the server, or raise FLOWML_TIMEOUT"):
        opened.close("FINISHED", 1)
    monkeypatch.setenv("FLOWML_TIMEOUT", "1000")
    settings.reload()
    with pytest.raises(TrackingError, match=r"did not answer within 0\.3 s"):
        open_run(OWNER, track=Track(), parent=None)
    blocker.rollback()
    blocker.close()
    done = threading.Event()
    for _ in range(200):
        if data_of(stored, opened).params == {"late": "but not lost"}:
            done.set()
            break
        done.wait(0.05)
    assert done.is_set()
