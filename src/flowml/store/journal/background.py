"""Lets a process of its own send what others left, while the user's code goes on: `flowml sync`, in the background."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from flowml import process, settings
from flowml.store.journal import journal

_AT_MOST_EVERY = 60.0  # seconds
_OF_OTHERS = 600.0  # seconds without news, after which a journal of another machine is taken for one left behind
_LOG = "sync.log"


def send_what_was_left() -> bool:
    """Start `flowml sync`, if a process of the project left something; at most once a minute.

    Returns:
        Whether it was started.
    """
    home = settings.home_folder()
    if not any(_is_left(path) for path in journal.left_behind(home)):
        return False
    log = journal.folder_of(home) / _LOG
    with suppress(OSError):
        if log.exists() and time.time() - log.stat().st_mtime < _AT_MOST_EVERY:
            return False
        with log.open("wb") as said:
            subprocess.Popen(
                [sys.executable, "-m", "flowml.cli.app", "sync"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                close_fds=True,
            )
        return True
    return False


def _is_left(path: Path) -> bool:
    """Tell whether the process that began a journal seems to be gone; only its lock says it for sure."""
    _, host, pid, _ = path.stem.split("-", 3)
    if host == journal.host_name() and pid.isdecimal():
        return int(pid) != os.getpid() and process.began(int(pid)) is None
    with suppress(OSError):
        newest = max(each.stat().st_mtime for each in path.parent.glob(f"{path.name}*"))
        return time.time() - newest > _OF_OTHERS
    return False
