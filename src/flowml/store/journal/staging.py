"""Files for a run's artifacts, copied aside at once and uploaded together."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO

from flowml import disk, records
from flowml.storable import clean
from flowml.store.journal.scratch import Scratch

FileRecord = records.Text | records.Blob | records.File

# The file system, or the two of them, cannot do it: then it is read and written.
_CANNOT = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.EBADF}


def stage(files: Sequence[FileRecord]) -> tuple[Scratch, dict[str, OSError]]:
    """Copy files aside.

    Args:
        files: What to copy.

    Returns:
        The folder, laid out as the artifacts will be, and the error of each file that was not copied, by its name.
    """
    scratch = Scratch()
    staging = _Staging(scratch.path)
    for record in files:
        staging.take(record)
    scratch.weigh()
    return scratch, staging.missing


class _Staging:
    """One folder that is filled; nothing is written outside of it."""

    def __init__(self, folder: Path) -> None:
        self.missing: dict[str, OSError] = {}
        self._folder = folder
        self._made = {folder}

    def take(self, record: FileRecord) -> None:
        """Copy a file or folder, or write what is in memory."""
        try:
            if not isinstance(record, records.File):
                with _whole(self._free(Path(record.path))) as target:
                    target.write_bytes(_content(record))
                return
            path = Path(record.path, record.name or record.source.name or "root")
            if record.source.is_dir():
                self._copy_folder(record.source, path)
            else:
                with disk.open_file(record.source) as stream, _whole(self._free(path)) as target:
                    _copy(stream, target)
        except OSError as error:
            self.missing[str(record.source) if isinstance(record, records.File) else record.path] = error

    def _copy_folder(self, source: Path, path: Path) -> None:
        for member in disk.members(source, without=self._folder):
            try:
                with disk.open_file(member.path) as stream, _whole(self._free(path / member.name)) as target:
                    _copy(stream, target)
                    target.chmod(stat.S_IMODE(os.fstat(stream.fileno()).st_mode) | stat.S_IRUSR | stat.S_IWUSR)
            except OSError as error:
                self.missing[str(member.path)] = error

    def _free(self, path: Path) -> Path:
        """Give where a file goes; one of a name that is taken gets a number, as parameters do.

        Raises:
            OSError: If that is outside of the folder.
        """
        target = self._folder / clean(str(path))
        if not Path(os.path.normpath(target)).is_relative_to(self._folder) or target == self._folder:
            raise OSError(errno.EPERM, "not a place among a run's artifacts", str(path))
        if target.parent not in self._made:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(target.parent)
        if target.exists():
            endings = "".join(target.suffixes)
            name = target.name.removesuffix(endings)
            free = (target.with_name(f"{name}.{number}{endings}") for number in count(2))
            target = next(other for other in free if not other.exists())
        return target


def _content(record: records.Text | records.Blob) -> bytes:
    return record.text.encode("utf-8", "backslashreplace") if isinstance(record, records.Text) else record.data


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Leave nothing of a file that fails on the way: a part of it would be logged as if it were all."""
    try:
        yield target
    except BaseException:
        with suppress(OSError):
            target.unlink(missing_ok=True)
        raise


def _copy(source: BinaryIO, target: Path) -> None:
    """Copy an open file; where the file system can, both share what is on disk until one of them is written to.

    A hard link would not do: what the user writes to the file later would be in both.
    """
    with target.open("wb", buffering=0) as copy:
        left = length = disk.length(source)
        if hasattr(os, "copy_file_range"):
            try:
                while left > 0 and (done := os.copy_file_range(source.fileno(), copy.fileno(), left)):
                    left -= done
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
        for block in disk.blocks(source, left):
            unwritten = memoryview(block)
            while unwritten:  # a disk that is nearly full takes less than it was given
                unwritten = unwritten[copy.write(unwritten) :]
        if (copied := disk.length(copy)) != length:
            raise OSError(errno.EIO, f"{copied:,} of {length:,} bytes were there to copy", str(target))
