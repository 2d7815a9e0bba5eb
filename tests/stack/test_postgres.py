"""``flowml up`` with both databases in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from mlflow import MlflowClient

from flowml.store.backend import sql_tables
from tests.postgres import Postgres, postgres
from tests.runs import all_runs, flow_run, parent_of, run_of
from tests.stack.conftest import Project, urls
from tests.stack.test_up import ask

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

FLOW = """
import math
from pathlib import Path
from sklearn.linear_model import LinearRegression
from flowml import flow, task

@task
def fit(rows: int) -> LinearRegression:
    return LinearRegression().fit([[0.0], [1.0], [2.0]], [0.0, 1.0, rows])

@task
def measure(text: str) -> dict[str, float]:
    return {"least": -math.inf, "none": math.nan, "most": 1e308, "letters": len(text)}

@flow
def stored(rows: int = 3) -> Path:
    fit(rows)
    measure("a NUL \\0 and a \\ud800 that is half a character")
    [measure(str(number)) for number in range(40)]
    note = Path("note.txt")
    note.write_text("written by a flow")
    return note

stored()
"""


@pytest.fixture
def database() -> Iterator[Postgres]:
    """A PostgreSQL with two empty databases."""
    with postgres() as server:
        server.create("prefect")
        server.create("mlflow")
        yield server


def test_both_servers_over_postgres(place: Project, database: Postgres) -> None:
    """A flow writes to it what it would write to SQLite, no password is shown, and a second start finds all again."""
    up = ("up", "--detach", "--prefect-db", database.uri("prefect"), "--mlflow-db", database.uri("mlflow"))
    started = place.flowml(*up)
    assert started.returncode == 0, started.stderr
    said = [started.stdout, place.flowml("status").stdout, place.flowml("status", "--json").stdout]
    said += [place.flowml("doctor").stdout, place.flowml("logs", "--lines", "500").stdout]
    said += [" ".join(process.cmdline()) for process in place.processes()]
    ran = place.python("-c", FLOW)
    assert ran.returncode == 0, ran.stderr
    shown = json.loads(place.flowml("show", "stored", "--json").stdout)
    assert [text for text in (*said, ran.stdout, ran.stderr, str(shown)) if database.password in text] == []

    client = MlflowClient(database.uri("mlflow"))
    run = flow_run(client)
    known = runs_in_prefect(started.stdout)
    assert run.data.tags["prefect.flow_run_id"] in known
    assert run.info.status == "FINISHED"
    assert database.ask("SELECT count(*), count(DISTINCT run_uuid) FROM runs", of="mlflow") == [(43, 43)]
    assert run_of(client, "fit").outputs.model_outputs
    assert [item.path for item in client.list_artifacts(run.info.run_id) if "note" in item.path]
    assert not list(place.folder.rglob("*.db"))
    directly = sql_tables.below(client, run.info.run_id, run.info.experiment_id)
    searched = {child.info.run_id: child for child in all_runs(client) if parent_of(child) == run.info.run_id}
    assert {row.run_id: (row.status, row.tags, repr(dict(sorted(row.metrics.items())))) for row in directly} == {
        run_id: (child.info.status, child.data.tags, repr(dict(sorted(child.data.metrics.items()))))
        for run_id, child in searched.items()
    }

    assert place.flowml("down").returncode == 0
    again = place.flowml(*up)
    assert again.returncode == 0, again.stderr
    assert runs_in_prefect(again.stdout) == known
    assert place.python("-c", FLOW).returncode == 0
    assert database.ask("SELECT count(*) FROM runs WHERE status = 'FINISHED'", of="mlflow") == [(86,)]
    assert place.flowml("down").returncode == 0


def runs_in_prefect(said: str) -> set[str]:
    """Return the ids of the flow runs that Prefect's server has."""
    return {run["id"] for run in ask(f"{urls(said)[0]}/api/flow_runs/filter", {})}
