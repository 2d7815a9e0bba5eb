"""Starts the project's Prefect and MLflow servers."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from flowml import settings
from flowml.errors import StackError
from flowml.ops.servers.down import stop
from flowml.ops.servers.options import Choice, Say, Wanted, choose, make_folder
from flowml.stack import health, processes, servers, state
from flowml.stack.ports import Port
from flowml.stack.state import Server, Stack
from flowml.store.backend import embedded
from flowml.store.backend.failures import explained
from flowml.store.journal.background import send_what_was_left

if TYPE_CHECKING:
    import subprocess

_PATIENCE = 60.0  # seconds that another `flowml up` of the same project may take to start its servers


class Run:
    """The servers that this process starts.

    Attributes:
        stack: What they are, once they have started.
    """

    def __init__(self) -> None:
        self.stack: Stack | None = None
        self._mark = uuid.uuid4().hex
        self._kept: tuple[Port, ...] = ()
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
        home = make_folder()
        with _alone(home):
            there = state.read()
            if there and not there.dead():
                return there
            if there and len(there.dead()) < len(there.servers):
                dead = there.dead()[0]
                msg = f"{health.died(dead)}\nEnd what is left with `flowml down`, then start again."
                raise StackError(msg, server=dead.name)
            if there:
                stop(there)  # those of before a restart of the machine, or what dead servers left
            self._start(choose(wanted, say))
        return None

    def wait_until_ready(self) -> Iterator[list[Server]]:
        """Wait until both answer; yields those that do not yet.

        Raises:
            StackError: If one dies or never answers.
        """
        if self.stack is not None:
            yield from health.wait(self.stack)
            self._give_back()
            self.stack = dataclasses.replace(self.stack, ready=True)
            state.write(self.stack)
            send_what_was_left()

    def watch(self) -> None:
        """Return when ``flowml down`` has ended them.

        Raises:
            StackError: If one dies by itself.
        """
        while self.stack is not None:
            if dead := self.stack.dead():
                stored = state.read()
                if stored and stored.id == self.stack.id and stored.ready:
                    raise health.died(dead[0])
                return
            time.sleep(0.5)

    def stop(self) -> None:
        """End them, and all that they started; also those that have only just begun to start."""
        self._give_back()
        if self.stack is not None:
            stop(self.stack)
        elif self._children:
            processes.stop([], self._mark)

    def _give_back(self) -> None:
        for port in self._kept:
            port.give_back()
        self._kept = ()

    def _start(self, choice: Choice) -> None:
        self._kept = choice.kept
        database = choice.mlflow_db
        prefects_home = choice.home / "prefect"
        prefects_home.mkdir(exist_ok=True)
        first = self._launch(
            servers.prefect(choice.host, choice.prefect_port, database=choice.prefect_db, home=prefects_home)
        )
        if database.startswith("sqlite:///"):
            with explained(database):
                embedded.prepare(database)  # before the server and a flow both do; meanwhile Prefect starts
        second = self._launch(
            servers.mlflow(choice.host, choice.mlflow_port, database=database, artifacts=choice.artifacts)
        )
        self.stack = Stack(
            id=self._mark, prefect=first, mlflow=second, database=database, artifacts=choice.artifacts, host=choice.host
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


def _alone(home: Path) -> AbstractContextManager[object]:
    """Keep other commands from starting servers of this project at the same time.

    Raises:
        StackError: If one of them takes too long.
    """
    lock = FileLock(home / "stack.lock", timeout=_PATIENCE)
    try:
        return lock.acquire(timeout=lock.timeout)
    except Timeout:
        msg = f"Another `flowml up` has kept {lock.lock_file} for {_PATIENCE:g} s. End it, then start again."
        raise StackError(msg, server="") from None
