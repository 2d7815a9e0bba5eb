"""Lets a process of its own send what others left, while the user's code goes on: `flowml sync`, in the background."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress

from flowml import settings
from flowml.store.journal import journal
from flowml.store.journal.left import is_left, left_behind

_AT_MOST_EVERY = 60.0  # seconds
_LOG = "sync.log"


def send_what_was_left() -> bool:
    """Start `flowml sync`, if a process of the project left something; at most once a minute.

    Returns:
        Whether it was started.
    """
    home = settings.home_folder()
    if not any(map(is_left, left_behind(home))):
        return False
    log = journal.folder_of(home) / _LOG
    with suppress(OSError):
        if log.exists() and time.time() - log.stat().st_mtime < _AT_MOST_EVERY:
            return False
        with log.open("wb") as said:
            subprocess.Popen(
                [sys.executable, "-m", "flowml", "sync"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                close_fds=True,
            )
        return True
    return False
