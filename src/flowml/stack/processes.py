"""Processes that are known by more than their number: numbers are used again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowml.process import began

if TYPE_CHECKING:
    import psutil

_MARK = "FLOWML_STACK_ID"
_GRACE = 10.0  # seconds to end in good order


@dataclass(frozen=True, slots=True)
class Process:
    """One process, of this or another session.

    Attributes:
        pid: Its number.
        started: When it began, as `began` tells it; no later process of this number has the same.
    """

    pid: int
    started: str

    def is_alive(self) -> bool:
        """Tell whether this very process runs; a matter of microseconds."""
        return began(self.pid) == self.started


def start(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path, mark: str
) -> subprocess.Popen[bytes]:
    """Start a process that outlives the terminal: a session of its own, its output in a file.

    Args:
        command: Its command line.
        environment: All of its environment.
        folder: Where it works.
        log: The file for its output.
        mark: What `stop` finds it and all its children by.
    """
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - our own command lines
            command,
            env={**environment, _MARK: mark},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )


def of(pid: int) -> Process:
    """Return the process that has this number now."""
    return Process(pid, began(pid) or "ended")


def stop(processes: Iterable[Process], mark: str) -> None:
    """End these processes and all that they started, and return when none is left.

    Their children are also found when they themselves are gone already.
    """
    import psutil

    for ask in (psutil.Process.terminate, psutil.Process.kill):
        family = _family(processes, mark)
        for member in family:
            with suppress(psutil.Error):
                ask(member)
        psutil.wait_procs(family, timeout=_GRACE)
        if not _family(processes, mark):
            return


def _family(processes: Iterable[Process], mark: str) -> list[psutil.Process]:
    """Find what is alive of these processes, their children, and all that has the mark in its environment."""
    import psutil

    found: set[psutil.Process] = set()
    for process in processes:
        with suppress(psutil.Error):
            if process.is_alive():
                leader = psutil.Process(process.pid)
                found |= {leader, *leader.children(recursive=True)}
    for other in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # not ours to read, or gone
            if other.environ().get(_MARK) == mark:
                found.add(other)
    return [member for member in found if _runs(member)]


def _runs(process: psutil.Process) -> bool:
    import psutil

    with suppress(psutil.Error):
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    return False


def program(name: str) -> str | None:
    """Return where a program is: on the path, or beside this Python; None if it is not installed."""
    beside = Path(sys.executable).with_name(f"{name}.exe" if os.name == "nt" else name)
    return shutil.which(name) or (str(beside) if beside.is_file() else None)


def environment_without(*names: str) -> dict[str, str]:
    """Return this process's environment without the variables that begin with one of these names."""
    return {name: value for name, value in os.environ.items() if not name.startswith(names)}
