"""Private files on their way to MLflow: what the user does to the originals later is not logged."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import shutil
import tempfile
import weakref
from pathlib import Path

from flowml import settings
from flowml.locks import RLock
from flowml.store.journal import journal, on_disk


class _Weights:
    """The bytes on disk that wait to be sent."""

    def __init__(self) -> None:
        self._used = 0
        self._lock = RLock()

    def take(self, size: int) -> None:
        """Count so many bytes more.

        Raises:
            OSError: If that is more than may wait.
        """
        most = settings.current().journal_limit
        with self._lock:
            if self._used + size > most:
                waits = f"{self._used:,} bytes of files wait for MLflow; {size:,} more would pass the limit of {most:,}"
                raise OSError(errno.EDQUOT, f"{waits} (setting journal_limit)")
            self._used += size

    def add(self, size: int) -> None:
        """Count so many bytes that are there."""
        with self._lock:
            self._used += size

    def give(self, size: int) -> None:
        """Make room again."""
        with self._lock:
            self._used -= size


class Scratch:
    """A folder that goes with `remove`, with its owner, or with the process; but not with a forked child.

    One that a journal tells of stays until it is removed.

    Args:
        path: One that is there, and that a journal tells of. Default: a new one.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or _new_folder()
        self._weight = [0]  # shared with the finalizer
        self._finalizer = weakref.finalize(self, _remove, self.path, os.getpid(), self._weight)
        self._finalizer.atexit = False  # it would come before the writer's last flush
        self._is_removed, self._owner = False, os.getpid()
        if path:
            self._weight[0] = _size_of(path)
            _weights.add(self._weight[0])
            self.keep()
        else:
            _all.add(self)

    def weigh(self) -> None:
        """Count what was put there.

        Raises:
            OSError: If that is more than may wait; the folder is removed.
        """
        size = _size_of(self.path)
        try:
            _weights.take(size)
        except OSError:
            self.remove()
            raise
        self._weight[0] = size

    def move(self, folder: Path) -> None:
        """Move it into another folder."""
        folder.mkdir(mode=0o700, exist_ok=True)
        self._finalizer.detach()
        self.path = Path(shutil.move(self.path, folder / self.path.name))
        self._finalizer = weakref.finalize(self, _remove, self.path, self._owner, self._weight)
        self._finalizer.atexit = False

    def keep(self) -> None:
        """Leave it on the disk, whatever becomes of this process: a journal tells of it."""
        self._finalizer.detach()
        _all.discard(self)

    def let_go(self) -> None:
        """Leave it to the journal, which somebody reads again: it does not count until then."""
        _weights.give(self._weight[0])
        self._weight[0] = 0

    def remove(self) -> None:
        """Remove it."""
        self._finalizer.detach()  # finalizers do nothing late in the process's end
        if not self._is_removed:
            self._is_removed = True
            _remove(self.path, self._owner, self._weight)


_weights = _Weights()
_all: weakref.WeakSet[Scratch] = weakref.WeakSet()


def _new_folder() -> Path:
    """Make a folder beside the journal, so that both are there after the machine was off; else a temporary one."""
    with contextlib.suppress(on_disk.JournalError, OSError):
        if mine := journal.current():
            mine.files.mkdir(mode=0o700, exist_ok=True)
            return Path(tempfile.mkdtemp(dir=mine.files))
    return Path(tempfile.mkdtemp(prefix="flowml-"))


def _size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _remove(folder: Path, owner: int, weight: list[int]) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
        _weights.give(weight[0])


@atexit.register
def _remove_what_is_left() -> None:
    """Leave no files behind that nobody would send; the writer, which is imported later, flushes before."""
    for scratch in list(_all):
        scratch.remove()


def _leave_the_parents() -> None:
    global _weights  # noqa: PLW0603 - another thread of the parent may have held its lock
    _weights = _Weights()
    _all.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_the_parents)
