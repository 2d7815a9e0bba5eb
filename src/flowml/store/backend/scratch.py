"""Private files on their way to MLflow: what the user does to the originals later is not logged."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from threading import Condition, RLock

from flowml import settings

_MOST = 2**30  # bytes that may wait in all, before tasks wait with more


class _Budget:
    """The bytes on disk that wait to be sent."""

    def __init__(self) -> None:
        self._used = 0
        self._changed = Condition(RLock())  # re-entrant: the garbage collector may give while one takes

    def take(self, size: int) -> None:
        """Wait until there is room for so many bytes, at most the setting ``timeout``: a late file is no lost one."""
        is_sender = threading.current_thread().name.startswith("flowml-")  # only that one makes room
        with self._changed:
            if not is_sender:
                self._changed.wait_for(lambda: self._used + size <= _MOST or not self._used, settings.current().timeout)
            self._used += size

    def give(self, size: int) -> None:
        """Make room again."""
        with self._changed:
            self._used -= size
            self._changed.notify_all()


class Scratch:
    """A folder that goes with `remove`, with its owner, or with the process; but not with a forked child.

    Attributes:
        path: Where it is.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="flowml-"))
        self._weight = [0]  # shared with the finalizer
        self._finalizer = weakref.finalize(self, _remove, self.path, os.getpid(), self._weight)
        self._finalizer.atexit = False  # it would come before the writer's last flush
        _all.add(self)

    def weigh(self) -> None:
        """Count what was put there; waits while too much waits already."""
        size = sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())
        _budget.take(size)
        self._weight[0] = size

    def remove(self) -> None:
        """Remove it."""
        found = self._finalizer.detach()  # not called: finalizers do nothing late in the process's end
        if found:
            _remove(*found[2])


_budget = _Budget()
_all: weakref.WeakSet[Scratch] = weakref.WeakSet()


def _remove(folder: Path, owner: int, weight: list[int]) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
        _budget.give(weight[0])


@atexit.register
def _remove_what_is_left() -> None:
    """Leave no files behind; the writer, which is imported later, flushes before."""
    for scratch in list(_all):
        scratch.remove()


def _leave_the_parents() -> None:
    global _budget  # noqa: PLW0603 - another thread of the parent may have held its lock
    _budget = _Budget()
    _all.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_the_parents)
