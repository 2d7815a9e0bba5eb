"""The journals that are there: of processes at work, and of those that are gone."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from flowml import process, settings
from flowml.store.journal import journal, on_disk

_OF_OTHERS = 600.0  # seconds without news, after which a journal of another machine is taken for one left behind


@dataclass(frozen=True, slots=True)
class Waiting:
    """A journal that is there.

    Attributes:
        path: The file.
        since: When it was begun, in seconds since 1970.
        size: The bytes that it and its files take.
        is_left: Whether its process seems to be gone; only its lock says it for sure.
    """

    path: Path
    since: float
    size: int
    is_left: bool


def waiting() -> list[Waiting]:
    """Return the journals of the project, but for this process's own, the oldest first."""
    found = []
    for path in left_behind(settings.home_folder()):
        with contextlib.suppress(OSError):  # sent meanwhile
            found.append(Waiting(path, path.stat().st_ctime, _size_of(path), is_left(path)))
    return found


def left_behind(home: Path) -> list[Path]:
    """Return the journals in a project that this process does not hold; others may."""
    try:
        found = sorted(on_disk.folder_of(home).glob(f"*-*-*-*{on_disk.SUFFIX}"))
    except OSError:
        return []
    return [path for path in found if not journal.is_open_here(path)]


def is_left(path: Path) -> bool:
    """Tell whether the process that began a journal seems to be gone; of another machine's, after a while."""
    _, host, pid, _ = path.stem.split("-", 3)
    if host == on_disk.host_name() and pid.isdecimal():
        locked = on_disk.is_locked(path)  # its process's number may be another's by now: in a container it often is
        return process.began(int(pid)) is None if locked is None else not locked
    with contextlib.suppress(OSError):
        newest = max(each.stat().st_mtime for each in path.parent.glob(f"{path.name}*"))
        return time.time() - newest > _OF_OTHERS
    return False


def _size_of(path: Path) -> int:
    total = 0
    for file in [path, path.with_name(f"{path.name}-wal"), *path.with_suffix(".files").rglob("*")]:
        with contextlib.suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total
