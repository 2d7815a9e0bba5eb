"""Runs as MLflow keeps them in a SQLite file of flowml's, read by Python itself: MLflow takes seconds to import.

What is read is what MLflow's own search gives, in its order, for the filters that flowml's commands use.
"""

from __future__ import annotations

import math
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from flowml.store.backend import embedded
from flowml.store.backend.reading.rows import Data, Info, Row
from flowml.store.backend.sql_tables import REVISIONS

if TYPE_CHECKING:
    from mlflow.entities import Run


_COLUMNS = {"run_id": "run_uuid", "run_name": "name", "status": "status", "start_time": "start_time"}
_CONDITION = re.compile(
    r"(?:tags\.`(?P<tag>[^`]+)`|attributes\.(?P<attribute>\w+)) (?P<comparator>=|LIKE|IN|<) "
    r"(?P<value>'[^']*'|\"[^\"]*\"|\d+|\((?:'[^']*'(?:, )?)+\))(?P<rest> and |$)"
)
_AT_ONCE = 200  # runs whose tags, parameters and metrics are read together


def can_read(uri: str) -> bool:
    """Tell whether a store is a SQLite file that flowml made, with tables of a revision that is known here."""
    if not uri.startswith("sqlite:///") or not embedded.is_ours(uri) or os.environ.get("MLFLOW_WORKSPACE"):
        return False
    try:
        with closing(_opened(uri)) as database:
            found = database.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return False  # MLflow says what is wrong with it
    return found is not None and found[0] in REVISIONS


def search(
    uri: str,
    mine: str,
    *,
    newest_first: bool,
    deleted: bool = False,
    page: int = 0,  # noqa: ARG001 - it is as it comes
) -> Iterator[Run]:
    """Go through the runs that a filter lets through.

    Args:
        uri: A store that `can_read`.
        mine: A filter in MLflow's words.
        newest_first: Which end to begin at; runs of the same moment are in the order of their ids.
        deleted: Take those that are deleted, in place of those that are not.
        page: Of no use here: a row is read when it is asked for.

    Raises:
        ValueError: If the filter has words that are not known here.
        sqlite3.Error: If the file cannot be read.
    """
    conditions, values = _translated(mine)
    chosen = (  # all that a user names is among the values
        "SELECT run_uuid, experiment_id, name, status, start_time, end_time, lifecycle_stage FROM runs "  # noqa: S608
        "WHERE experiment_id IN (SELECT experiment_id FROM experiments WHERE lifecycle_stage = 'active') "
        f"AND lifecycle_stage = ? {conditions} ORDER BY start_time {'DESC' if newest_first else 'ASC'}, run_uuid"
    )
    with closing(_opened(uri)) as database:
        database.execute("BEGIN")  # all is read as it is at one moment
        rows = database.execute(chosen, ["deleted" if deleted else "active", *values])
        while some := rows.fetchmany(_AT_ONCE):
            yield from cast("list[Run]", _with_their_data(database, some))  # what is asked of it is there


def lacking(uri: str, tag: str) -> tuple[int, int | None]:
    """Count the runs that have no such tag and are not deleted; with when the first of them began.

    Raises:
        sqlite3.Error: If the file cannot be read.
    """
    asked = (
        "SELECT count(*), min(start_time) FROM runs WHERE lifecycle_stage = 'active' "
        "AND run_uuid NOT IN (SELECT run_uuid FROM tags WHERE key = ?)"
    )
    with closing(_opened(uri)) as database:
        count, first = database.execute(asked, [tag]).fetchone()
        return count, first


def _opened(uri: str) -> sqlite3.Connection:
    path = quote(str(Path(uri.removeprefix("sqlite:///"))))
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30, isolation_level=None)
    database.execute("PRAGMA case_sensitive_like = true")  # as in MLflow
    return database


def _with_their_data(database: sqlite3.Connection, rows: list[tuple[str, int, str, str, int, int, str]]) -> list[Row]:
    found = {row[0]: Row(Info(row[0], str(row[1]), *row[2:]), Data()) for row in rows}
    marks = ", ".join("?" * len(found))
    for table in ("tags", "params"):
        asked = f"SELECT run_uuid, key, value FROM {table} WHERE run_uuid IN ({marks})"  # noqa: S608 - of our own
        for run_id, key, value in database.execute(asked, list(found)):
            getattr(found[run_id].data, table)[key] = value
    asked = f"SELECT run_uuid, key, value, is_nan FROM latest_metrics WHERE run_uuid IN ({marks})"  # noqa: S608
    for run_id, key, value, is_nan in database.execute(asked, list(found)):
        found[run_id].data.metrics[key] = math.nan if is_nan else value
    return list(found.values())


def _translated(mine: str) -> tuple[str, list[str | int]]:
    """Turn a filter in MLflow's words into conditions on the table of runs, with their values."""
    conditions, values, place = "", list[str | int](), 0
    while place < len(mine):
        one = _CONDITION.match(mine, place)
        if one is None:
            msg = f"This filter is not known here: {mine[place:]}"
            raise ValueError(msg)
        given: list[str | int]
        if one["value"].startswith("("):
            given = re.findall("'([^']*)'", one["value"])
        else:
            given = [int(one["value"]) if one["value"].isdigit() else one["value"][1:-1]]
        compared = f"IN ({', '.join('?' * len(given))})" if one["comparator"] == "IN" else f"{one['comparator']} ?"
        if one["tag"]:
            tags = "SELECT run_uuid FROM tags WHERE key = ? AND value"
            conditions += f" AND run_uuid IN ({tags} {compared})"
            values.append(one["tag"])
        else:
            conditions += f" AND {_COLUMNS[one['attribute']]} {compared}"
        values += given
        place = one.end()
    return conditions, values
