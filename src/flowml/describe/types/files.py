"""Files and bytes: by size and digest as an input, as a file among the artifacts as an output."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from flowml import disk, options, records, settings
from flowml.describe.dispatch import register
from flowml.describe.place import Place
from flowml.describe.types.scalars import scalar
from flowml.formats import size as size_text
from flowml.secrets import mask
from flowml.storable import clean

LARGEST = 100_000_000  # bytes of a file that are read for its digest while the task waits
MOST_FILES = 1_000  # of a folder that is logged without a marker
_STARTS = {
    b"\x89PNG\r\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"%PDF-": ".pdf",
    b"PK\x03\x04": ".zip",
    b"\x1f\x8b": ".gz",
    b"PAR1": ".parquet",
}


def bytes_(value: Any, place: Place) -> Iterator[records.Record]:
    """Bytes, of any of the standard types."""
    view = memoryview(value).cast("B") if memoryview(value).contiguous else memoryview(bytes(value))
    is_marked, limit = isinstance(place.marker, options.Artifact), settings.current().file_limit
    is_too_large = view.nbytes > limit and not is_marked
    if is_too_large or (place.role == "input" and not is_marked):
        yield records.Param(place.label, f"{size_text(view.nbytes)}, sha256:{hashlib.sha256(view).hexdigest()[:16]}")
        if place.role == "output":
            yield _above_the_limit(place, f"{size_text(view.nbytes)} of bytes", "bytes", limit)
    elif not _holds_secret(bytes(view[:10_000])):
        ending = next((suffix for start, suffix in _STARTS.items() if bytes(view[:8]).startswith(start)), ".bin")
        yield records.Blob(place.path(ending), bytes(view))


def _holds_secret(start: bytes) -> bool:
    text = start.decode("latin-1")
    return mask(text) != text and start.isascii()


def path(value: Path, place: Place) -> Iterator[records.Record]:
    """A file or folder that exists; any other path is a scalar."""
    try:
        status = value.stat()
    except (OSError, ValueError):
        yield from scalar(value, place)
        return
    is_file, is_folder = stat.S_ISREG(status.st_mode), stat.S_ISDIR(status.st_mode)
    if isinstance(place.marker, options.Dataset) and is_file:
        content = _digest(value, status.st_size) or "unknown"
        profile = {"num_bytes": status.st_size, "file": clean(value.name)}
        yield records.Dataset(place.name, place.role, content[:32], "file", {}, profile)
    elif not (is_file or is_folder):  # a pipe or device: reading it would take something out of it
        yield records.Param(place.label, str(value))
    elif place.role == "output" or isinstance(place.marker, options.Artifact):
        yield from _logged(value, place, status)
    elif is_folder:
        yield records.Param(place.label, f"{value} (folder)")
    else:
        digest = _digest(value, status.st_size)
        known = f", sha256:{digest[:16]}" if digest else ""
        yield records.Param(place.label, f"{value} ({size_text(status.st_size)}{known})")


@dataclass(frozen=True, slots=True)
class _Content:
    """What a file or folder holds, or that it is too much.

    Attributes:
        text: How large it is, in words.
        fits: Whether it may be logged.
        left_out: What of it is not.
        changed: When it was last changed; of a folder, now.
    """

    text: str
    fits: bool
    left_out: disk.LeftOut
    changed: int


def _logged(value: Path, place: Place, status: os.stat_result) -> Iterator[records.Record]:
    """Log a file or folder; one that is too large by what it is known by."""
    is_marked, limit = isinstance(place.marker, options.Artifact), int(settings.current().file_limit)
    source = value.absolute()
    if source.name in {"", ".."}:
        source = Path(os.path.realpath(source))
    room = shutil.disk_usage(tempfile.gettempdir()).free if is_marked else limit
    content = _content(source, status, room, None if is_marked else MOST_FILES)
    if content.fits:
        yield _copied(source, place, is_file=stat.S_ISREG(status.st_mode))
        if content.left_out.count:
            yield _left_out(value, place, content.left_out)
        return
    yield records.Param(place.label, f"{value} ({content.text})")
    yield records.Digest(place.label, source, content.changed)
    if is_marked:
        why = (
            f"it ({content.text}) has no room in {tempfile.gettempdir()}, where files wait to be sent: its path, size "
            "and digest are logged. Set TMPDIR to a folder with more room."
        )
        yield records.Lost(place.name, f"log the content of {clean(str(value))}", why)
    else:
        yield _above_the_limit(place, f"{clean(str(value))} ({content.text})", "Path", limit)


def _content(source: Path, status: os.stat_result, most: int, most_files: int | None) -> _Content:
    left_out = disk.LeftOut()
    if not stat.S_ISDIR(status.st_mode):
        return _Content(size_text(status.st_size), status.st_size <= most, left_out, status.st_mtime_ns)
    size, now = 0, time.time_ns()
    for count, member in enumerate(disk.members(source, left_out), 1):
        size += member.size
        if size > most:
            return _Content(f"folder of more than {size_text(most)}", fits=False, left_out=left_out, changed=now)
        if most_files and count > most_files:
            return _Content(f"folder of more than {most_files:,} files", fits=False, left_out=left_out, changed=now)
    return _Content("folder", fits=True, left_out=left_out, changed=now)


def _above_the_limit(place: Place, what: str, kind: str, limit: int) -> records.Remark:
    text = (
        f"{what} is above the file_limit of {size_text(limit)}: what identifies it is logged, and not its content. To "
        f"log that too, annotate it as Annotated[{kind}, Artifact()], or raise FLOWML_FILE_LIMIT."
    )
    return records.Remark(f"{place.name} is above the limit", text)


def _left_out(value: Path, place: Place, left_out: disk.LeftOut) -> records.Lost:
    why = (
        f"{left_out.count:,} entries are left out: {clean(str(left_out))}. "
        "Links that lead out of a folder or to folders, pipes, and what cannot be read are not logged."
    )
    return records.Lost(place.name, f"log all of the folder {clean(str(value))}", why)


def _copied(source: Path, place: Place, *, is_file: bool) -> records.Record:
    chosen = place.chosen_path
    if chosen is None:
        return records.File("", source)
    target = PurePosixPath(chosen)
    above = "" if str(target.parent) == "." else str(target.parent)
    if target.name == source.name:
        return records.File(above, source)
    return records.File(above, source, target.name) if is_file and target.suffix else records.File(chosen, source)


def _digest(file: Path, size: int) -> str | None:
    """Give the SHA-256 of a file's content; None when it is too large or may not be read."""
    if size > LARGEST:
        return None
    digest = hashlib.sha256()
    try:
        with disk.open_file(file) as stream:
            for block in disk.blocks(stream, size):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def register_all() -> None:
    """Register paths and the types of bytes."""
    register(Path, path)
    for kind in (bytes, bytearray, memoryview):
        register(kind, bytes_)
