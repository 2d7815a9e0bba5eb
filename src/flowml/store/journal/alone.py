"""One `flowml sync` of a project at a time: the others wait, and find that it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flowml import settings
from flowml.errors import TrackingError

if TYPE_CHECKING:
    from filelock import BaseFileLock

_PATIENCE = 7200.0  # seconds that another sync may take


@contextmanager
def alone(say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Wait until no other sync of the project is at work, and let none begin.

    Args:
        say: Tells that it waits.

    Raises:
        TrackingError: If another is at work for hours.
    """
    from filelock import Timeout

    lock = _lock()
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say("Another flowml sync is at work here; this one waits for it.")
            lock.acquire(timeout=_PATIENCE)
    except Timeout:
        msg = f"Another flowml sync has been at work here for {_PATIENCE / 3600:g} h. End it, then sync again."
        raise TrackingError(msg) from None
    except (OSError, NotImplementedError):
        pass  # a file system without locks: each journal has its own guard
    try:
        yield
    finally:
        lock.release()


def is_at_work() -> bool:
    """Tell whether a sync of the project is at work."""
    from filelock import Timeout

    lock = _lock()
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
    lock.release()
    return False


def _lock() -> BaseFileLock:
    from filelock import FileLock

    return FileLock(Path(settings.home_folder(), "sync.lock"), timeout=_PATIENCE)
