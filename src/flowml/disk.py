"""Files on disk: regular ones alone, no further than their size, and nothing that leads out of a folder.

Opening a pipe, reading a device or following a circle of links may take for ever.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_BINARY", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"))
_BLOCK = 1 << 20
_NAMED = 3  # of what is left out


def open_file(path: str | Path) -> BinaryIO:
    """Open a regular file, also by a link to it.

    Raises:
        OSError: If it is something else, or may not be read.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        descriptor = os.open(os.path.realpath(path), _FLAGS)  # by the link; of a circle it is the same error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb", buffering=0)


def length(stream: BinaryIO) -> int:
    """Return how long an open file is."""
    return os.fstat(stream.fileno()).st_size


def blocks(stream: BinaryIO, left: int) -> Iterator[bytes]:
    """Read so many bytes, and not to the end: another program may be writing to the file."""
    while left > 0 and (block := stream.read(min(left, _BLOCK))):
        yield block
        left -= len(block)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a folder.

    Attributes:
        name: Its path in the folder, with slashes.
        path: Where its content is; for a link, the file that it leads to.
        size: In bytes.
        changed: When, in nanoseconds since 1970.
    """

    name: str
    path: str
    size: int
    changed: int


@dataclass(slots=True)
class LeftOut:
    """What of a folder is not logged: what leads out of it, links to folders, pipes, and what may not be read."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Count one more; the first ones are named."""
        self.count += 1
        if len(self.names) < _NAMED:
            self.names.append(name)

    def __str__(self) -> str:
        return ", ".join(self.names) + (", …" if self.count > len(self.names) else "")


def members(folder: Path, left_out: LeftOut | None = None, *, without: Path | None = None) -> Iterator[Member]:
    """Give the files of a folder, in any order.

    Args:
        folder: The folder, or a link to it.
        left_out: Told what is not given.
        without: A folder that may be inside, and is not gone into.
    """
    left_out = LeftOut() if left_out is None else left_out
    root, closed = os.path.realpath(folder), os.path.realpath(without) if without else None
    waiting = [""]
    while waiting:
        here = waiting.pop()
        try:
            entries = os.scandir(f"{root}/{here}")
        except OSError:
            left_out.add(here or ".")
            continue
        with entries:
            for entry in entries:
                name = f"{here}/{entry.name}" if here else entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting += [name] if entry.path != closed else []
                elif member := _member(root, name, entry):
                    yield member
                else:
                    left_out.add(name)


def _member(root: str, name: str, entry: os.DirEntry[str]) -> Member | None:
    """Give a file, or one that a link inside the folder leads to; None for all else."""
    path = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
    if not path.startswith(root.rstrip(os.sep) + os.sep):
        return None
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return Member(name, path, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None
