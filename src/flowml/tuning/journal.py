"""Optuna's journal file, written so that a process may be killed at any moment. Optuna by itself can use it, too."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.storages.journal import JournalFileBackend

_PATIENCE = 60.0  # seconds, for a lock that is held while a line is written
_POLL = 0.001  # seconds, between two looks at it


class Journal(JournalFileBackend):
    """The same file, with another lock, and without a wait for the disk at each line.

    Optuna's own lock is a file, which a killed process leaves behind for 30 seconds; this one is the operating
    system's. Lines that are written outlive the process, though not a power cut of the same second.

    Args:
        file: The file.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self._file = file
        self._held = FileLock(f"{file}.lock", timeout=_PATIENCE)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write lines."""
        text = "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in logs)
        with self._held.acquire(_PATIENCE, poll_interval=_POLL), self._file.open("r+b") as opened:
            _to_whole_end(opened)
            opened.write(text.encode())


def _to_whole_end(opened: Any) -> None:
    """Go to the end; half a line, which a killed process left there, is cut off: nobody could read the next one."""
    size = opened.seek(0, os.SEEK_END)
    if size == 0:
        return
    opened.seek(size - 1)
    if opened.read(1) == b"\n":
        return
    opened.seek(0)
    whole = opened.read().rfind(b"\n") + 1
    opened.truncate(whole)
    opened.seek(whole)
