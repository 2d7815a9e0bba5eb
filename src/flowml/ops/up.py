"""Starts the project's Prefect and MLflow servers."""

from __future__ import annotations

import dataclasses
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from flowml import settings
from flowml.errors import SettingsError, StackError
from flowml.ops.down import stop
from flowml.stack import health, ports, processes, servers, state
from flowml.stack.state import Server, Stack
from flowml.store import embedded
from flowml.store.trouble import explained

if TYPE_CHECKING:
    import subprocess

_FIRST = {"prefect": 4200, "mlflow": 5000}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options of ``flowml up`` ask for; None leaves it to the settings, and they to the defaults."""

    prefect_db: str | None = None
    mlflow_db: str | None = None
    artifacts: str | None = None
    host: str | None = None
    prefect_port: int | None = None
    mlflow_port: int | None = None


class Run:
    """The servers that this process starts.

    Attributes:
        stack: What they are, once they have started.
    """

    def __init__(self) -> None:
        self.stack: Stack | None = None
        self._mark = uuid.uuid4().hex
        self._children: list[subprocess.Popen[bytes]] = []  # kept, for the system to tell us when they end

    def start(self, wanted: Wanted, say: Say) -> Stack | None:
        """Start both servers; does not wait until they answer.

        Args:
            wanted: What the options ask for.
            say: Takes news for the user.

        Returns:
            The servers that run already, if so; then nothing is started.

        Raises:
            SettingsError: If an option or setting cannot be.
            StackError: If there are servers already, but one of them is dead.
        """
        home = _folder()
        with FileLock(home / "stack.lock"):
            there = state.read()
            if there and not there.dead():
                return there
            if there and len(there.dead()) < len(there.servers):
                dead = there.dead()[0]
                msg = f"{health.died(dead)}\nEnd what is left with `flowml down`, then start again."
                raise StackError(msg, server=dead.name)
            if there:
                stop(there)  # those of before a restart of the machine, or what dead servers left
            self._start(home, wanted, say)
        return None

    def wait_until_ready(self) -> Iterator[list[Server]]:
        """Wait until both answer; yields those that do not yet.

        Raises:
            StackError: If one dies or never answers.
        """
        if self.stack is not None:
            yield from health.wait(self.stack)
            self.stack = dataclasses.replace(self.stack, ready=True)
            state.write(self.stack)

    def watch(self) -> None:
        """Return when ``flowml down`` has ended them.

        Raises:
            StackError: If one dies by itself.
        """
        while self.stack is not None:
            if dead := self.stack.dead():
                told = state.read()
                if told and told.id == self.stack.id and told.ready:
                    raise health.died(dead[0])
                return
            time.sleep(0.5)

    def stop(self) -> None:
        """End them, and all that they started; also those that have only just begun to start."""
        if self.stack is not None:
            stop(self.stack)
        elif self._children:
            processes.stop([], self._mark)

    def _start(self, home: Path, wanted: Wanted, say: Say) -> None:
        given = settings.current()
        host = wanted.host or given.host
        database = _mlflow_database(wanted.mlflow_db, say)
        artifacts = embedded.artifact_root(wanted.artifacts or given.artifacts)
        prefect_db = _database(wanted.prefect_db or given.prefect_db or str(home / "prefect" / "prefect.db"))
        _check_driver(database)
        prefect_port = _port("prefect", host, wanted.prefect_port or given.prefect_port, say, but=set())
        mlflow_port = _port("mlflow", host, wanted.mlflow_port or given.mlflow_port, say, but={prefect_port})
        (home / "prefect").mkdir(exist_ok=True)

        first = self._launch(servers.prefect(host, prefect_port, database=prefect_db, home=home / "prefect"))
        if database.startswith("sqlite:///"):
            with explained(database):
                embedded.prepare(database)  # before the server and a flow both do; meanwhile Prefect starts
        second = self._launch(servers.mlflow(host, mlflow_port, database=database, artifacts=artifacts))
        direct = servers.is_local(host)
        self.stack = Stack(
            id=self._mark,
            prefect=first,
            mlflow=second,
            database=database,
            tracking_uri=database if direct else second.url,
            artifacts=artifacts if direct else "",
            host=host,
        )
        state.write(self.stack)

    def _launch(self, launch: servers.Launch) -> Server:
        folder = settings.home_folder() / "logs"
        folder.mkdir(exist_ok=True)
        log = folder / f"{launch.name}.log"
        if log.exists():
            log.replace(log.with_suffix(".previous.log"))
        child = processes.start(launch.command, environment=launch.environment, folder=folder, log=log, mark=self._mark)
        self._children.append(child)
        return Server(launch.name, launch.url, processes.of(child.pid), str(log))


def _folder() -> Path:
    """Make the folder that everything is under.

    Raises:
        SettingsError: If that cannot be.
    """
    home = settings.home_folder()
    try:
        home.mkdir(parents=True, exist_ok=True)
        embedded.ignore_in_git(home)
        if not os.access(home, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        msg = f"The folder {home} cannot be written: {error.strerror}. Choose another: FLOWML_HOME=..."
        raise SettingsError(msg, setting="home", value=str(home)) from None
    return home


def _mlflow_database(wanted: str | None, say: Say) -> str:
    """Choose what MLflow shows: the option, the setting if it is a database, the embedded store."""
    configured = settings.current().tracking_uri
    if wanted:
        if configured and _database(wanted) != _database(configured):
            say("Flows do not write to --mlflow-db: the setting tracking_uri names another store.")
        return _database(wanted)
    if configured and not configured.startswith(("http:", "https:", "databricks")):
        return _database(configured)
    if configured:
        say("Flows do not write to this MLflow server: the setting tracking_uri names another.")
    return embedded.default_uri()


def _database(given: str) -> str:
    """Make a database's URI of a URI or a file's path; a file's is absolute."""
    if "://" not in given:
        given = f"sqlite:///{Path(given).expanduser()}"
    scheme, separator, path = given.partition(":///")
    if scheme == "sqlite" and separator:
        return f"sqlite:///{Path(path).resolve()}"
    return given


def _check_driver(database: str) -> None:
    """Refuse a database that MLflow could not open, before anything is started."""
    if database.startswith("postgres") and find_spec("psycopg2") is None:
        msg = "MLflow needs the package psycopg2 for a PostgreSQL database. Install it: pip install psycopg2-binary"
        raise SettingsError(msg, setting="mlflow_db", value="postgresql")


def _port(name: str, host: str, wanted: int | None, say: Say, *, but: set[int]) -> int:
    """Take the port that was asked for, or the next free one.

    Raises:
        SettingsError: If it is taken, or none is free.
    """
    setting = f"{name}_port"
    if wanted:
        if wanted in but or not ports.is_free(host, wanted):
            msg = f"Port {wanted} of {host} cannot be had for the {name} server: something else listens there, or "
            msg += f"{host} is no address of this machine. Choose another --{name}-port, or leave it out."
            raise SettingsError(msg, setting=setting, value=wanted)
        return wanted
    first = _FIRST[name]
    port = ports.next_free(host, first, but=but)
    if port is None:
        msg = (
            f"There is no free port of {host} for the {name} server from {first} on; is it an address of this machine?"
        )
        raise SettingsError(msg, setting=setting, value=None)
    if port != first:
        say(f"Port {first} is taken: the {name} server takes {port}.")
    return port
