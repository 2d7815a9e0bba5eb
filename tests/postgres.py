"""A PostgreSQL of a test's own: Debian's, in a temporary folder, on a free port of this machine."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

_OPTIONS = (
    *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
    *("-c", "fsync=off"),  # what a test keeps need not outlive the machine
)


class Postgres:
    """A running server.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        user: Who owns all databases.
        password: The user's.
        start: Starts it, where it was stopped.
        stop: Stops it at once, as a power cut would.
    """

    def __init__(self, port: int, password: str, start: Callable[[], None], stop: Callable[[], None]) -> None:
        self.port = port
        self.user = "flowml"
        self.password = password
        self.start = start
        self.stop = stop

    def uri(self, database: str, driver: str = "postgresql") -> str:
        """Return a database's address, with the password."""
        return f"{driver}://{self.user}:{self.password}@127.0.0.1:{self.port}/{database}"

    def ask(self, statement: str, *, of: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement in a database; return its rows, if it has some."""
        import psycopg2

        connection = psycopg2.connect(self.uri(of))
        try:
            connection.autocommit = True  # no database can be made in a transaction
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def create(self, database: str) -> str:
        """Create an empty database; return its address."""
        self.ask(f'CREATE DATABASE "{database}"')
        return self.uri(database)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server. Where PostgreSQL is not installed, the test is skipped; in CI it fails."""
    programs = _programs()
    if programs is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("there is no PostgreSQL (initdb, pg_ctl); on Debian: apt-get install --no-install-recommends postgresql")
    # Not in pytest's folder: only root may look into that, and PostgreSQL refuses to be root's.
    with tempfile.TemporaryDirectory(prefix="flowml-postgres-") as name:
        folder, password = Path(name), secrets.token_hex(16)
        (folder / "password").write_text(password)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        as_user = _as_user(folder)
        data, log = folder / "data", folder / "log"
        make = ["--username=flowml", f"--pwfile={folder / 'password'}", "--auth=scram-sha-256", "--no-sync"]
        _run([programs / "initdb", "-D", data, "--encoding=UTF8", "--locale=C", *make], as_user)
        options = " ".join([*_OPTIONS, "-p", str(port)])
        control = [programs / "pg_ctl", "-D", data, "-w"]
        start = partial(_run, [*control, "-l", log, "-o", options, "start"], as_user)
        stop = partial(_run, [*control, "-m", "immediate", "stop"], as_user)
        start()
        try:
            yield Postgres(port, password, start, stop)
        finally:
            stop()


def _programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; Debian keeps them off the PATH, the newest version last."""
    found = [Path(found).parent for found in [shutil.which("initdb")] if found]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


def _as_user(folder: Path) -> dict[str, Any]:
    """Give a folder to who may run PostgreSQL, and say so to what is started: root may not."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    for path in (folder, *folder.iterdir()):
        os.chown(path, entry.pw_uid, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _run(command: list[Any], as_user: dict[str, Any]) -> None:
    # What it says goes to a file: a server that inherits a pipe keeps it open.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd="/", check=False, timeout=60, **as_user
        )
        said.seek(0)
        assert done.returncode == 0, said.read().decode()
