"""Lets a process of its own send what others left, while the user's code goes on: `flowml sync`, in the background."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress

from flowml import settings
from flowml.store.journal import on_disk
from flowml.store.journal.alone import is_at_work
from flowml.store.journal.left import is_left, left_behind

_AT_MOST_EVERY = 60.0  # seconds
_LOG = "sync.log"
_SYNC = "import sys; sys.path[:1] = []; from flowml.cli.app import main; main(['sync'])"  # no module of the project's

_started: list[subprocess.Popen[bytes]] = []


def send_what_was_left() -> bool:
    """Start `flowml sync`, if a process of the project left something; at most once a minute.

    Returns:
        Whether it was started.
    """
    home = settings.home_folder()
    if getattr(sys, "frozen", False) or not sys.executable:
        return False  # it is the user's program, and no Python
    if not any(map(is_left, left_behind(home))) or is_at_work():
        return False
    log = on_disk.folder_of(home) / _LOG
    with suppress(OSError):
        if log.exists() and time.time() - log.stat().st_mtime < _AT_MOST_EVERY:
            return False
        with log.open("wb") as said:
            started = subprocess.Popen(  # noqa: S603 - nothing of it comes from anybody
                [sys.executable, "-c", _SYNC],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                close_fds=True,
            )
            _started.append(started)  # Python warns of one that nobody holds
        return True
    return False
