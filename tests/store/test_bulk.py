"""Runs that wait together are written in one transaction, with the rows that MLflow's own calls write."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from flowml import TrackingError, records
from flowml.options import Track
from flowml.store import Run, open_run
from flowml.store.backend import sql_tables
from flowml.store.backend.connection import connect
from flowml.store.flow_end import child_runs
from flowml.store.sending.writer import writer_of

RECORDS = [
    records.Param("rate", "0.1"),
    records.Metric("loss", 0.5, 0),
    records.Metric("loss", 0.25, 2),
    records.Metric("loss", 0.75, 1),
    records.Metric("nothing", math.nan),
    records.Metric("up", math.inf),
    records.Metric("down", -math.inf),
]
TAGS = {"team": "a", "odd key/with-signs": "b", "mlflow.user": "somebody", "long": "x" * 8000}


def identity(kind: Any = "task") -> records.Identity:
    """Return who calls."""
    return records.Identity(
        name="a name", kind=kind, owner="tests", attempt=1, started=5, source=None, tags=TAGS, tag=("", "")
    )


@pytest.fixture
def flow(project: Path) -> Run:
    """The open run of a flow that MLflow has."""
    opened = open_run(identity("flow"), track=Track(), parent=None)
    opened.settle()
    return opened


@contextmanager
def sender_at_rest() -> Iterator[None]:
    """Let what is logged wait together."""
    writer, go_on, done = writer_of(connect()), threading.Event(), Future[None]()
    thread = threading.Thread(target=lambda: done.set_result(writer.ask(lambda: go_on.wait(60)) and None))
    thread.start()
    try:
        yield
    finally:
        go_on.set()
        done.result(60)
        thread.join()


def rows_of(project: Path, run_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return what the database has of a run, but for its id and the times at which metrics were taken."""
    found = {}
    with closing(sqlite3.connect(project / ".flowml" / "mlflow.db")) as database:
        database.row_factory = sqlite3.Row
        for table in ("runs", "tags", "params", "metrics", "latest_metrics"):
            rows = database.execute(f"select * from {table} where run_uuid = ?", [run_id]).fetchall()
            kept = [{name: row[name] for name in row.keys() if name not in {"run_uuid", "timestamp"}} for row in rows]  # noqa: SIM118
            found[table] = sorted(kept, key=lambda row: str(sorted(row.items(), key=str)))
    for row in found["runs"]:
        row["artifact_uri"] = row["artifact_uri"].replace(run_id, "<id>")
    return found


def by_mlflow(client: MlflowClient, like: str, *, ended: bool) -> str:
    """Write a run with MLflow's own calls, and return its id."""
    given = client.get_run(like)
    made = client.create_run(given.info.experiment_id, 5, given.data.tags, "a name").info.run_id
    metrics = [Metric(each.key, each.value, 1, each.step) for each in RECORDS if isinstance(each, records.Metric)]
    params = [Param(each.key, each.value) for each in RECORDS if isinstance(each, records.Param)]
    client.log_batch(made, metrics, params if ended else [], [])
    if ended:
        client.set_terminated(made, "FINISHED", 7)
    return made


@pytest.mark.parametrize("ended", [True, False])
def test_the_rows_are_mlflows(project: Path, flow: Run, *, ended: bool) -> None:
    """Each row of each table is the one that `MlflowClient` writes, of a run that has ended and of one at work."""
    client = connect().client
    with sender_at_rest():
        run = open_run(identity(), track=Track(), parent=flow)
        run.put(RECORDS)
        if ended:
            run.close("FINISHED", 7)
    flow.settle()
    assert run.info
    run_id = run.info.run_id
    assert rows_of(project, run_id) == rows_of(project, by_mlflow(client, run_id, ended=ended))
    if not ended:
        run.close("FINISHED", 7)
    flow.close("FINISHED", 7)
    flow.settle()


def test_runs_that_wait_together_are_one_transaction(project: Path, flow: Run) -> None:
    """Sixteen short tasks cost one commit; each has its own params and metrics, and none is open."""
    client, commits = connect().client, []
    with sender_at_rest():
        runs = [open_run(identity(), track=Track(), parent=flow) for _ in range(16)]
        for number, run in enumerate(runs):
            run.put([records.Param("number", str(number)), records.Metric("number", float(number))])
            run.close("FINISHED", 7)
        event.listen(client._tracking_client.store.engine, "commit", commits.append)
    flow.settle()
    written = len(commits)
    stored = [client.get_run(run.info.run_id) for run in runs if run.info]
    told = [(run.info.status, run.data.params, run.data.metrics) for run in stored]
    assert told == [("FINISHED", {"number": str(each)}, {"number": float(each)}) for each in range(16)]
    assert written == 1
    flow.close("FINISHED", 7)
    flow.settle()


def test_one_that_is_refused_costs_no_other(flow: Run) -> None:
    """A tag that MLflow never takes is left out and told; the runs that waited with it are there."""
    client = connect().client
    with sender_at_rest():
        runs = [open_run(identity(), track=Track(), parent=flow) for _ in range(3)]
        for run in runs:
            run.put([records.Metric("loss", 0.5)])
        runs[1].put([records.Tag("in/../valid", "x")])
        for run in runs:
            run.close("FINISHED", 7)
    flow.close("FINISHED", 7)
    with pytest.raises(TrackingError, match=r"in/\.\./valid"):
        flow.settle()
    stored = [client.get_run(run.info.run_id) for run in runs if run.info]
    assert [(run.info.status, run.data.metrics) for run in stored] == [("FINISHED", {"loss": 0.5})] * 3


def test_a_deleted_experiment_takes_no_runs(flow: Run) -> None:
    """Runs below a flow whose experiment was deleted meanwhile are refused, as MLflow refuses them."""
    client = connect().client
    assert flow.info
    with sender_at_rest():
        run = open_run(identity(), track=Track(), parent=flow)
        run.close("FINISHED", 7)
        client.delete_experiment(flow.info.experiment_id)
    flow.close("FINISHED", 7)
    with pytest.raises(TrackingError, match="deleted"):
        flow.settle()


def test_children_are_read_as_mlflow_tells_them(flow: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a flow's end reads from the tables is what MLflow's search gives, without deleted runs."""
    client = connect().client
    assert flow.info
    experiment_id, flow_id = flow.info.experiment_id, flow.info.run_id
    for _ in range(3):
        run = open_run(identity(), track=Track(), parent=flow)
        run.put(RECORDS)
        run.close("FINISHED", 7)
    flow.settle()
    for name in ("by hand", "deleted"):
        made = client.create_run(experiment_id, 3, {"mlflow.parentRunId": flow_id}, name)
    client.delete_run(made.info.run_id)
    assert sql_tables.serves(client)
    directly = child_runs.read(client, flow_id, experiment_id)
    monkeypatch.setattr(sql_tables, "serves", lambda _: False)
    searched = child_runs.read(client, flow_id, experiment_id)
    assert sorted(map(repr, directly)) == sorted(map(repr, searched))  # NaN is not equal to itself
    assert [child.started for child in directly] == [child.started for child in searched] == [3, 5, 5, 5]
    assert directly[0].name == "by hand"
    flow.close("FINISHED", 7)
    flow.settle()


def test_tables_that_cannot_be_read_are_asked_for_through_mlflow(flow: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database hangs up on the quick way to a flow's children, they come from MLflow's search."""
    client = connect().client
    assert flow.info
    run = open_run(identity(), track=Track(), parent=flow)
    run.close("FINISHED", 7)
    flow.settle()

    def hang_up(*_: Any) -> None:
        raise OperationalError("select", {}, Exception("server closed the connection unexpectedly"))

    monkeypatch.setattr(sql_tables, "engine_of", hang_up)
    (child,) = child_runs.read(client, flow.info.run_id, flow.info.experiment_id)
    assert child.status == "FINISHED"
    monkeypatch.undo()
    flow.close("FINISHED", 7)
    flow.settle()


def test_a_database_that_flowml_did_not_make_is_mlflows_alone(project: Path, flowml_empty_store: Path) -> None:
    """A store that the user named is written by MLflow's calls, though its tables are the same."""
    other = project / "own.db"
    other.write_bytes(flowml_empty_store.read_bytes())
    client = MlflowClient(f"sqlite:///{other}")
    assert client.search_experiments()
    assert not sql_tables.serves(client)
    assert sql_tables.serves(connect().client)
