"""Locks that a forked child finds free: another thread of its parent may have held one, which nobody gives back there.

Python does the same for the locks of `logging` and `threading`.
"""

from __future__ import annotations

import os
import threading
from weakref import WeakSet

from flowml.patches.others import RENEW_LOCK

_all: WeakSet[threading.RLock] = WeakSet()


def RLock() -> threading.RLock:  # noqa: N802 - it is that of `threading`
    """Return a lock as ``threading.RLock`` makes it, which is free in a forked child.

    It is Python's own, and no class round it: Prefect's ``timeout_seconds`` raises anywhere in Python code, also in an
    ``__enter__`` that has taken the lock. It is re-entrant: the garbage collector may close a generator task anywhere,
    whose end takes locks, too.
    """
    made = threading.RLock()
    _all.add(made)
    return made


def _free() -> None:
    for lock in list(_all):
        if lock.acquire(blocking=False):  # nobody holds it, or who forks does and gives it back
            lock.release()
        elif renew := RENEW_LOCK.of(lock):
            renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free)
