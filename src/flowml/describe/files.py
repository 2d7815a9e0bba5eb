"""Files and bytes: by size and digest as an input, as a file among the artifacts as an output."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from flowml import options, records
from flowml.describe.dispatch import register
from flowml.describe.place import Place
from flowml.describe.scalars import scalar
from flowml.describe.secrets import mask
from flowml.describe.text import clean, size_text

LARGEST = 100_000_000  # bytes of a file that are read for its digest
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
    if place.role == "input" and not isinstance(place.marker, options.Artifact):
        yield records.Param(place.label, f"{size_text(view.nbytes)}, sha256:{hashlib.sha256(view).hexdigest()[:16]}")
    elif view.nbytes > LARGEST:
        yield records.Param(place.label, f"{size_text(view.nbytes)}, too large to keep")
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
        yield _copied(value, place, is_file=is_file, size=status.st_size)
    elif is_folder:
        yield records.Param(place.label, f"{value} (folder)")
    else:
        digest = _digest(value, status.st_size)
        known = f", sha256:{digest[:16]}" if digest else ""
        yield records.Param(place.label, f"{value} ({size_text(status.st_size)}{known})")


def _copied(value: Path, place: Place, *, is_file: bool, size: int) -> records.Record:
    chosen = place.chosen_path
    if chosen is None:
        return records.File("", value.absolute())
    target = PurePosixPath(chosen)
    if target.name == value.name:
        return records.File("" if str(target.parent) == "." else str(target.parent), value.absolute())
    if is_file and target.suffix and size <= LARGEST:  # MLflow cannot rename a file on its way
        return records.Blob(chosen, value.read_bytes())
    return records.File(chosen, value.absolute())


def _digest(file: Path, size: int) -> str | None:
    """Give the SHA-256 of a file's content; None when it is too large or may not be read."""
    if size > LARGEST:
        return None
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def register_all() -> None:
    """Register paths and the types of bytes."""
    register(Path, path)
    for kind in (bytes, bytearray, memoryview):
        register(kind, bytes_)
