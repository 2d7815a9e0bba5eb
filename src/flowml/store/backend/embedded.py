"""The store of a project that configured none: a SQLite file and a folder of artifacts, under the project's folder."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flowml import settings
from flowml.stack import servers, state
from flowml.store.backend import offline

_FILE = "mlflow.db"
_PATIENCE = 120.0  # seconds that another process may take to make its tables


def default_uri() -> str:
    """Return the embedded store's tracking URI, with an absolute path."""
    return f"sqlite:///{settings.home_folder() / _FILE}"


def is_embedded(uri: str) -> bool:
    """Tell whether a tracking URI is the embedded store of this project, or its offline one."""
    return uri in {default_uri(), offline.uri()}


def is_ours(uri: str) -> bool:
    """Tell whether flowml made a store's database: an embedded one, or that of ``flowml up``."""
    stack = state.up()
    return is_embedded(uri) or (stack is not None and stack.database == uri)


def artifacts(uri: str, experiment: str) -> str | None:
    """Return where an experiment's artifacts go; None leaves it to MLflow, which knows best for any other store."""
    stack = state.up()
    if stack and uri == stack.database:
        # What other machines reach too gets a place that the server hands on.
        root = stack.artifacts if servers.is_local(stack.host) else "mlflow-artifacts:"
    elif uri == offline.uri():
        root = offline.artifact_root()
    elif is_embedded(uri):
        root = artifact_root()
    else:
        return None
    folder = re.sub(r"[^\w.-]+", "-", experiment)
    return f"{root.rstrip('/')}/{folder}"


def artifact_root(typed: str | None = None) -> str:
    """Return the URI of the folder or bucket that holds the artifacts of each experiment in a folder of its own.

    Args:
        typed: The folder or bucket, as somebody typed it here. Default: the setting, else a folder in `home`.
    """
    wanted = typed or settings.current().artifacts
    if wanted and "://" in wanted:
        return wanted
    folder = Path(wanted).expanduser() if wanted else settings.home_folder() / "artifacts"
    return ((Path.cwd() if typed else settings.project_folder()) / folder).resolve().as_uri()


def beside_its_server(place: str, uri: str) -> str | None:
    """Return where artifacts are that a server hands on, if that is a folder or bucket which is reached from here.

    Args:
        place: Where the server says they are, such as ``mlflow-artifacts:/churn``.
        uri: The tracking URI of the store, which is reached without the server.
    """
    parts, stack = urlsplit(place), state.up()
    if parts.netloc:
        return None
    if stack and stack.database == uri:
        root = stack.artifacts
    elif is_embedded(uri):
        root = artifact_root()
    else:
        return None
    return f"{root.rstrip('/')}/{parts.path.lstrip('/')}"


def prepare(uri: str) -> None:
    """Make the folder and the database's tables, once, also when several processes start together.

    Raises:
        OSError: If the folder cannot be written.
    """
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 - seconds, which no other process should wait for
    from filelock import FileLock
    from mlflow import MlflowClient

    path = Path(uri.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        msg = f"{path} cannot be written"
        raise PermissionError(msg)
    ignore_in_git(path.parent)
    with FileLock(path.with_suffix(".lock"), timeout=_PATIENCE), without_chatter("mlflow.store.db.utils"):
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode=WAL")  # kept in the file: readers and a writer work at the same time
        MlflowClient(tracking_uri=uri).search_experiments(max_results=1)


@contextmanager
def without_chatter(logger: str) -> Iterator[None]:
    """Keep the news of each table that is made out of the user's terminal."""
    talker = logging.getLogger(logger)
    level = talker.level
    talker.setLevel(logging.WARNING)
    try:
        yield
    finally:
        talker.setLevel(level)


def ignore_in_git(folder: Path) -> None:
    """Keep a folder of flowml's out of version control."""
    note = folder / ".gitignore"
    if not note.exists():
        note.write_text("*\n")


@cache
def tune(uri: str) -> None:
    """Let a SQLite store wait for a busy database, and not for the disk at each commit where its log makes that safe.

    Source: https://www.sqlite.org/pragma.html#pragma_synchronous: with a write-ahead log, NORMAL keeps the file
    consistent through a power cut; the last commits may be lost.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    path = os.path.realpath(uri.removeprefix("sqlite:///"))

    @event.listens_for(Engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        if isinstance(connection, sqlite3.Connection) and _file_of(connection) == path:
            connection.execute("PRAGMA busy_timeout=30000")
            if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                connection.execute("PRAGMA synchronous=NORMAL")


@contextmanager
def room_for_threads(uri: str) -> Iterator[None]:
    """Let any number of threads use a SQLite store that is opened meanwhile: else the 16th may wait for 30 s and fail.

    Args:
        uri: The store's tracking URI; of a database server the user decides how many connections it takes.
    """
    name = "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW"  # MLflow reads it when it opens a store
    if not uri.startswith("sqlite") or name in os.environ:
        yield
        return
    os.environ[name] = "-1"  # as many as are asked for: sqlalchemy.pool.QueuePool
    try:
        yield
    finally:
        del os.environ[name]


def _file_of(connection: sqlite3.Connection) -> str:
    return os.path.realpath(str(connection.execute("PRAGMA database_list").fetchone()[2]))
