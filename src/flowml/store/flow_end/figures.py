"""The last figures of a flow's tasks, kept for the run of the flow until it ends."""

from __future__ import annotations

import shutil
import threading
from collections import deque
from pathlib import Path

from flowml import records
from flowml.storable import file_name
from flowml.store.backend.scratch import Scratch

_MOST = 6
_LARGEST = 2_000_000  # bytes
_KINDS = frozenset({".png", ".jpg", ".jpeg", ".svg", ".html"})


class Figures:
    """Figures of tasks that ran in this process: those of others are on their own runs only."""

    def __init__(self) -> None:
        self._kept: deque[tuple[str, Path]] = deque()
        self._scratch: Scratch | None = None
        self._lock = threading.Lock()
        self._count = 0

    def keep(self, task: str, folder: Path) -> None:
        """Keep the figures among a task's files, and let go of the oldest ones.

        Args:
            task: What the task's run is called.
            folder: Its files.
        """
        found = [each for each in sorted(folder.iterdir()) if each.suffix.lower() in _KINDS and each.is_file()]
        for figure in found[:_MOST]:
            if figure.stat().st_size <= _LARGEST:
                with self._lock:
                    self._keep(task, figure)

    def _keep(self, task: str, figure: Path) -> None:
        self._scratch = self._scratch or Scratch()
        self._count += 1
        place = self._scratch.path / str(self._count)
        place.mkdir()
        shutil.copy(figure, place / figure.name)
        self._kept.append((task, place / figure.name))
        if len(self._kept) > _MOST:
            shutil.rmtree(self._kept.popleft()[1].parent, ignore_errors=True)

    def records(self) -> list[records.File]:
        """Return them as files of the flow's run, in a folder for each task."""
        with self._lock:
            return [records.File(f"figures/{file_name(task)}", path) for task, path in self._kept]

    def remove(self) -> None:
        """Let go of them."""
        with self._lock:
            self._kept.clear()
            if self._scratch:
                self._scratch.remove()
                self._scratch = None
