"""Which process a run was opened in, told so that another can see later whether it is still there."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path

TAG = "flowml.process"
_FIRST_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO of Linux: the machine's own, not a container's


@dataclass(frozen=True, slots=True)
class Process:
    """What tells one process from all others.

    Attributes:
        pid: Its number.
        host: The name of its machine.
        machine: What is the same wherever a process's number means the same.
        started: When it began, in a form that is good for comparing.
    """

    pid: int
    host: str
    machine: str
    started: str

    def is_gone(self) -> bool | None:
        """Tell whether it has ended; None if it is on another machine or in another container."""
        # A process that has the number by now began at another time.
        return began(self.pid) != self.started if self.machine == machine() else None


def unique_id() -> str:
    """Return text of 32 characters that no other process has, and this one never again.

    A random number for each call would ask the system, and let another thread go first.
    """
    global _ids  # noqa: PLW0603 - made when it is first asked for, and anew in a forked child
    mine = _ids
    if mine is None or mine[0] != os.getpid():
        mine = _ids = os.getpid(), uuid.uuid4().hex[:22], count()
    return f"{mine[1]}{next(mine[2]):010x}"


_ids: tuple[int, str, Iterator[int]] | None = None


def tags() -> Mapping[str, str]:
    """Return the tag that tells of this process; none where it cannot be told apart from others."""
    return _tags(os.getpid())  # a forked child is another process


def in_tags(tags: Mapping[str, str]) -> Process | None:
    """Return the process that a run's tags tell of; None if they tell of none."""
    try:
        return Process(**json.loads(tags[TAG]))
    except (KeyError, TypeError, ValueError):  # none, or somebody else's tag
        return None


def is_gone(tags: Mapping[str, str]) -> bool | None:
    """Tell whether the process that a run's tags tell of has ended.

    Returns:
        None if that cannot be known here: they tell of none, or of one on another machine or in another container.
    """
    found = in_tags(tags)
    return found.is_gone() if found else None


@lru_cache(maxsize=1)
def _tags(pid: int) -> Mapping[str, str]:
    here, since = machine(), began(pid)
    if here is None or since is None:
        return {}
    return {TAG: json.dumps(asdict(Process(pid, socket.gethostname(), here, since)))}


@lru_cache(maxsize=1)
def machine() -> str | None:
    """Return what is the same wherever a process's number means the same; hashed, for it is nobody's business.

    The name of the host alone is not enough: containers may share it. A container does not outlive its machine's
    start; for the machine itself, processes of before a restart are known to be gone.
    """
    parts = [socket.gethostname()]
    if sys.platform == "linux":
        namespace = _text_of_link("/proc/self/ns/pid")
        machine_id = text_of("/etc/machine-id") if namespace == _FIRST_PID_NAMESPACE else ""
        parts += [namespace, machine_id or boot()]
    else:
        parts.append(str(uuid.getnode()))
    return hashlib.sha256("\n".join(["flowml", *parts]).encode()).hexdigest()[:16] if all(parts) else None


def _text_of_link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - it leads to no file
    except OSError:
        return ""


def began(pid: int) -> str | None:
    """Return when a process began, in a form that is good for comparing; None if there is none of this number.

    Args:
        pid: The process's number.
    """
    if sys.platform != "linux":
        return _began_elsewhere(pid)
    try:
        # Its name comes second, in brackets, and may hold anything. Source: proc_pid_stat(5).
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    ended = fields[0] in {"Z", "X"}  # nobody has asked how it ended yet
    # Ticks since the machine started: unlike a time of day, they do not move when the clock is set.
    return None if ended else f"{boot()}+{fields[19]}"


def boot() -> str:
    """Return what is another after each start of the machine; empty where it does not tell."""
    return text_of("/proc/sys/kernel/random/boot_id")[:8]


def text_of(path: str) -> str:
    """Return what a file of the system says; empty if there is none."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _began_elsewhere(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return "somebody else's"
