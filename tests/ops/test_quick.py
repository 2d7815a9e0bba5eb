"""Runs that are read without MLflow are told as MLflow tells them."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from flowml.ops.runs import Rows, Runs, reading
from flowml.store.backend.reading import sqlite_runs

FILTERS = [
    "tags.`flowml.kind` = 'flow'",
    "tags.`prefect.flow_name` = 'pipeline' and tags.`flowml.kind` = 'flow'",
    "attributes.run_name = 'same[blue]'",
    'attributes.run_name = "it\'s \x1b[31mred\tbroken"',
    "tags.`prefect.flow_run_id` LIKE '0%' and tags.`flowml.kind` = 'flow'",
    "tags.`flowml.process` LIKE '%'",
    "attributes.status = 'RUNNING' and attributes.start_time < 1",
]


def told(run: Run) -> dict[str, Any]:
    """Give all that the commands look at."""
    info, data = run.info, run.data
    head = (info.run_id, info.experiment_id, info.run_name, info.status, info.start_time, info.end_time)
    return {"head": (*head, info.lifecycle_stage), "tags": data.tags, "params": data.params, "metrics": data.metrics}


@pytest.mark.parametrize("mine", FILTERS)
def test_both_ways_tell_the_same(history: MlflowClient, mine: str) -> None:
    """The same runs in the same order, with the same tags, parameters and metrics."""
    quick, own = Rows(partial(sqlite_runs.search, history.tracking_uri)), Runs(history)
    assert list(map(told, quick.search(mine))) == list(map(told, own.search(mine)))
    assert list(map(told, quick.newest(mine))) == list(map(told, own.newest(mine)))
    ids = [run.info.run_id for run in own.search("tags.`flowml.kind` = 'task'")]
    assert list(map(told, quick.some(ids))) == list(map(told, own.some(ids)))


def test_deleted_runs_are_apart(history: MlflowClient) -> None:
    """What is deleted, or in an experiment that is, is not told; unless it is asked for."""
    (run,) = (run for run in Runs(history).search("attributes.run_name = 'run-of-1'"))
    quick = Rows(partial(sqlite_runs.search, history.tracking_uri))
    history.delete_run(run.info.run_id)
    try:
        assert list(quick.search("attributes.run_name = 'run-of-1'")) == []
        assert [one.info.run_id for one in quick.search("tags.`flowml.kind` = 'flow'", deleted=True)] == [
            run.info.run_id
        ]
    finally:
        history.restore_run(run.info.run_id)


def test_other_tables_are_mlflows_to_read(client: MlflowClient, project: Path) -> None:
    """A database whose tables are of another revision is read by MLflow, as is one that flowml did not make."""
    assert isinstance(reading().runs, Rows)
    with closing(sqlite3.connect(project / ".flowml" / "mlflow.db")) as database, database:
        ((revision,),) = database.execute("SELECT version_num FROM alembic_version")
        database.execute("UPDATE alembic_version SET version_num = 'another'")
        database.commit()
        assert not sqlite_runs.can_read(client.tracking_uri)
        database.execute("UPDATE alembic_version SET version_num = ?", [revision])
    assert not sqlite_runs.can_read(f"sqlite:///{project}/other.db")


QUICK = """
import json, sys
from flowml.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    print(json.dumps([ended.code, sorted({"mlflow", "prefect", "sqlalchemy"} & sys.modules.keys())]))
"""


@pytest.mark.parametrize(
    "words", ["runs", "show pipeline", "open pipeline --in prefect", "compare run-of-1 run-of-2", "doctor"]
)
@pytest.mark.usefixtures("history")
def test_looking_loads_neither_prefect_nor_mlflow(words: str) -> None:
    """Each takes seconds to import: a command that only looks reads the tables of flowml's own file itself."""
    done = subprocess.run([sys.executable, "-c", QUICK, *words.split()], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []], done.stderr
