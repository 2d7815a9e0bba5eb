"""The last figures of a flow's tasks, kept for the run of the flow until it ends."""

from __future__ import annotations

import shutil
from collections import deque
from contextlib import suppress
from pathlib import Path

from flowml import records
from flowml.storable import file_name
from flowml.store.journal.scratch import Scratch

_MOST = 6
_LARGEST = 2_000_000  # bytes
_KINDS = frozenset({".png", ".jpg", ".jpeg", ".svg", ".html"})


class Figures:
    """Figures of tasks that ran in this process: those of others are on their own runs only."""

    def __init__(self) -> None:
        self._kept: deque[tuple[str, Path, Scratch]] = deque()  # without a lock: a fork could leave one held

    def keep(self, task: str, folder: Path) -> list[tuple[Path, Scratch]]:
        """Keep the figures among a task's files, and let go of the oldest ones.

        Args:
            task: What the task's run is called.
            folder: Its files.

        Returns:
            The copies that were made, each alone in a folder.
        """
        made = []
        found = [each for each in sorted(folder.iterdir()) if each.suffix.lower() in _KINDS and each.is_file()]
        for figure in found[:_MOST]:
            if figure.stat().st_size <= _LARGEST:
                scratch = Scratch()
                made.append((Path(shutil.copy(figure, scratch.path)), scratch))
                self._kept.append((task, *made[-1]))
        while len(self._kept) > _MOST:
            self._drop_oldest()
        return made

    def restore(self, task: str, figure: Path) -> None:
        """Take back a figure that was kept by a process that is gone."""
        if figure.is_file():
            self._kept.append((task, figure, Scratch(figure.parent)))

    def records(self) -> list[records.File]:
        """Return them as files of the flow's run, in a folder for each task."""
        return [records.File(f"figures/{file_name(task)}", path) for task, path, _ in list(self._kept)]

    def remove(self) -> None:
        """Let go of them."""
        while self._kept:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        with suppress(IndexError):  # another thread that sends may have been faster
            self._kept.popleft()[2].remove()
