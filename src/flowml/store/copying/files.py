"""Artifacts, file by file: what is there already is not sent again, and no folder is held in memory."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from flowml.store.backend import offline
from flowml.store.copying.ends import Ends
from flowml.store.copying.sent_files import SentFiles

if TYPE_CHECKING:
    from mlflow.entities import FileInfo

_SMALL = 1_000_000  # bytes, up to which a file is sent again where it may be there

Listing = Callable[[str | None], "list[FileInfo]"]


@dataclass(frozen=True, slots=True)
class Files:
    """The artifacts of a run or a logged model.

    Attributes:
        place: Where they are, as MLflow says it.
    """

    place: str

    def listing(self) -> dict[str, tuple[int, int]]:
        """Return the size of each file, and when it was last changed, if that is known, by its path."""
        folder = local_folder(self.place)
        if folder is None:
            return {path: (size, 0) for path, size in sizes(self._below).items()}
        found = {}
        for file in sorted(folder.rglob("*")) if folder.is_dir() else []:
            if file.is_file():
                stat = file.stat()
                found[file.relative_to(folder).as_posix()] = (stat.st_size, stat.st_mtime_ns)
        return found

    def _below(self, path: str | None) -> list[FileInfo]:
        from mlflow.artifacts import list_artifacts

        below = list_artifacts(f"{self.place.rstrip('/')}/{path}" if path else self.place)
        return [_moved(one, path) for one in below]

    @contextmanager
    def fetched(self, path: str) -> Iterator[Path]:
        """Give a file of this machine with what one of them holds."""
        if folder := local_folder(self.place):
            yield folder / path
            return
        from mlflow.artifacts import download_artifacts

        with TemporaryDirectory(prefix="flowml-") as scratch:
            yield Path(download_artifacts(f"{self.place.rstrip('/')}/{path}", dst_path=scratch))


def unsendable(files: Files, ends: Ends, place: Callable[[], str]) -> list[str]:
    """Return the files that would not be there under their names.

    MLflow puts the names of files that a server takes into URLs as they are: what is after "#" or "?" is cut off, and
    "%41" becomes "A". They would replace one another, and files that have the shorter name.

    Args:
        files: What is to be sent.
        ends: The two stores.
        place: Returns where it would be; asked only where there are such names.
    """
    names = [path for path in files.listing() if "#" in path or "?" in path or unquote(path) != path]
    if not names:
        return []
    scheme = urlsplit(place()).scheme
    is_of_server = scheme == "mlflow-artifacts" and ends.target.tracking_uri.startswith("http")
    return names if is_of_server or scheme in {"http", "https"} else []


def send(
    files: Files,
    ends: Ends,
    there: Mapping[str, int],
    put: Callable[[str, str | None], Any],
    left: Collection[str] = (),
) -> int:
    """Send what is not there yet.

    Args:
        files: What is sent.
        ends: The two stores.
        there: The sizes of the files that are there, by path.
        put: Sends a file of this machine into a folder, if it is in one.
        left: The files that are left out.

    Returns:
        How many files were sent.
    """
    count, sent = 0, SentFiles(ends.to)
    for path, (size, changed) in files.listing().items():
        name, is_large = f"{files.place}/{path}", size > _SMALL
        if path in left:
            continue
        if is_large and there.get(path) == size and sent.has(name, size, changed):
            continue
        with files.fetched(path) as file:
            put(str(file), posixpath.dirname(path) or None)
        if is_large:
            sent.note(name, size, changed)
        count += 1
    return count


def sizes(listed: Listing) -> dict[str, int]:
    """Return the sizes of all files by path, of something that lists one folder at a time."""
    found, folders = dict[str, int](), list[str | None]([None])
    while folders:
        for one in listed(folders.pop()):
            if one.is_dir:
                folders.append(one.path)
            else:
                found[one.path] = one.file_size or 0
    return found


def local_folder(place: str) -> Path | None:
    """Return the folder that artifacts are in, if it is one of this machine; also where the project was moved."""
    parts = urlsplit(place)
    if parts.scheme:
        return _moved_along(Path(unquote(parts.path))) if parts.scheme == "file" else None
    return Path(place)


def _moved_along(folder: Path) -> Path:
    """Return where a folder of the offline store is now: MLflow keeps where it was when its experiment was made."""
    root = Path(unquote(urlsplit(offline.artifact_root()).path))
    is_there = os.path.isdir(folder)  # noqa: PTH112 - a `Path` raises where somebody else's folder is above it
    if is_there or root.name not in folder.parts:
        return folder
    below = folder.parts[::-1].index(root.name)
    return root.joinpath(*folder.parts[len(folder.parts) - below :])


def _moved(one: FileInfo, folder: str | None) -> FileInfo:
    from mlflow.entities import FileInfo

    return FileInfo(
        posixpath.join(folder, posixpath.basename(one.path)) if folder else one.path, one.is_dir, one.file_size
    )
