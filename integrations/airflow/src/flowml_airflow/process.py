"""A process that runs a flow: started in a session of its own, its output handed on line by line, stopped politely."""

from __future__ import annotations

import contextvars
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_LOOK = 0.05  # seconds between two looks whether it has ended
_LAST_LINES = 5.0  # seconds that its last lines may take, where a process of its own still holds the output


class FlowProcess:
    """A process that runs a flow.

    Waiting takes no lock: Airflow calls `stop` in a signal's handler, which interrupts whoever waits.

    Args:
        command: What is run.
        environment: Its environment.
        folder: The folder that it works in.
        say: Takes each line that it writes.

    Raises:
        OSError: If it cannot be started.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: str | None, say: Callable[[str], None]
    ) -> None:
        self.code: int | None = None
        self.was_stopped = False
        self._process = subprocess.Popen(  # noqa: S603 - the interpreter that the DAG's author names
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a signal to Airflow's own group is Airflow's to pass on
        )
        self._say = say
        self._reader = self._start(self._read)
        self._start(self._reap)

    @property
    def pid(self) -> int:
        """Its number, and its group's."""
        return self._process.pid

    def wait(self, each: Callable[[], None]) -> int:
        """Wait until it has ended, and return its exit code.

        Args:
            each: Called again and again meanwhile.
        """
        while self.code is None:
            each()
            time.sleep(_LOOK)
        self._reader.join(_LAST_LINES)
        return self.code

    def stop(self, patience: float) -> bool:
        """End it: SIGTERM to itself, which cancels the flow, and after some time SIGKILL to all of its group.

        Args:
            patience: How many seconds it may take.

        Returns:
            Whether it had to be killed.
        """
        self.was_stopped = self.was_stopped or self.code is None
        until = time.monotonic() + patience
        if self.code is None:
            self._process.send_signal(signal.SIGTERM)
        while self.code is None and time.monotonic() < until:
            time.sleep(_LOOK)
        killed = self.code is None
        self._kill_group()
        while self.code is None:
            time.sleep(_LOOK)
        return killed

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # nothing is left of it
        except PermissionError:
            self._say("A process that the flow started belongs to another user, and is left running.")

    def _start(self, job: Callable[[], None]) -> threading.Thread:
        # Airflow's log knows by context variables which task a line belongs to.
        thread = threading.Thread(target=contextvars.copy_context().run, args=(job,), name="flowml-flow", daemon=True)
        thread.start()
        return thread

    def _read(self) -> None:
        output = self._process.stdout
        for line in output or ():
            self._say(line.decode("utf-8", "replace").rstrip())

    def _reap(self) -> None:
        self.code = self._process.wait()


def environment_of(inherited: Mapping[str, str], context: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a flow's process.

    Airflow's settings, connections and variables stay Airflow's: they hold its secrets. What would lead another Python
    to Airflow's packages is left out, too.

    Args:
        inherited: Airflow's own environment.
        context: What tells the flow which task it is run by.
        own: What the user's DAG says.
    """
    left = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(_OF_AIRFLOW) and name not in _OF_THIS_PYTHON
    }
    return {**left, **context, "PYTHONUNBUFFERED": "1", **own}


_OF_AIRFLOW = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_", "_AIRFLOW_", "__AIRFLOW_")
_OF_THIS_PYTHON = frozenset({"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV"})


def folder_of(file: str | None) -> str | None:
    """Return the folder of a DAG's file, if that is there: flows are named from it."""
    return str(Path(file).parent) if file and Path(file).is_file() else None
