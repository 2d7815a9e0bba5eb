"""When a process began: its number alone does not tell it from others, for numbers are used again."""

from __future__ import annotations

import sys
from pathlib import Path


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
