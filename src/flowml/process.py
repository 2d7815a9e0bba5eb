"""Which process a run was opened in, told so that another can see later whether it is still there."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import uuid
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

TAGS = ("flowml.host", "flowml.machine", "flowml.pid", "flowml.process_started")
_FIRST_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO of Linux: the machine's own, not a container's


def tags() -> Mapping[str, str]:
    """Return the tags that tell of this process; none where it cannot be told apart from others."""
    return _tags(os.getpid())  # a forked child is another process


def identity(tags: Mapping[str, str]) -> tuple[str | None, ...]:
    """Return what tells one process from all others."""
    return tuple(tags.get(tag) for tag in TAGS)


def is_gone(tags: Mapping[str, str]) -> bool | None:
    """Tell whether the process that a run's tags tell of has ended.

    Returns:
        None if that cannot be known here: they tell of none, or of one on another machine or in another container.
    """
    pid, since = tags.get("flowml.pid", ""), tags.get("flowml.process_started")
    if not pid.isdecimal() or not since or tags.get("flowml.machine") != _machine():
        return None
    return began(int(pid)) != since  # a process that has the number by now began at another time


@lru_cache(maxsize=1)
def _tags(pid: int) -> Mapping[str, str]:
    machine, since = _machine(), began(pid)
    if machine is None or since is None:
        return {}
    return dict(zip(TAGS, (socket.gethostname(), machine, str(pid), since), strict=True))


@lru_cache(maxsize=1)
def _machine() -> str | None:
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
