"""Files and folders that are too large to be logged: their size and SHA-256, found in the background, one by one."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

from flowml import disk, records, settings
from flowml.background import Publisher
from flowml.errors import FlowmlError
from flowml.formats import size

_logger = logging.getLogger("prefect.flowml")

publisher = Publisher(lambda: None)


def add(record: records.Digest, tell: Callable[[list[records.Record]], None]) -> None:
    """Find the digest of a file or folder, and tell it as parameters."""
    publisher.add(partial(_find, record, tell))


def wait(seconds: float) -> None:
    """Wait for all of them, at most so long; what is found later is told if the process lives."""
    left = publisher.wait(seconds)
    if left:
        _logger.warning(
            "flowml: %d large files are still being read for their digests, which are logged if the process lives so "
            "long. Raise FLOWML_TIMEOUT to wait for them.",
            left,
        )


def _find(record: records.Digest, tell: Callable[[list[records.Record]], None]) -> None:
    found: dict[str, str] = {}
    try:
        reading = _Reading()
        if stat.S_ISDIR(record.source.stat().st_mode):
            found = reading.folder(record)
        else:
            found = {"sha256": reading.file(str(record.source), lambda changed: changed == record.changed).hexdigest()}
    except _UnknownError as error:
        found = {"sha256": f"unknown: {error}"}
    except OSError as error:
        found = {"sha256": f"unknown: {'gone' if isinstance(error, FileNotFoundError) else error.strerror}"}
    with suppress(FlowmlError):  # it waits, or was told where it is sent
        tell([records.Param(f"{record.key}.{name}", text) for name, text in found.items()])


class _Sum(Protocol):
    def digest(self) -> bytes: ...

    def hexdigest(self) -> str: ...


class _UnknownError(Exception):
    """There is no digest of what was returned."""


class _Reading:
    """Reads for a limited time what has not changed since it was returned."""

    def __init__(self) -> None:
        self._patience = 10 * settings.current().timeout
        self._until = time.monotonic() + self._patience

    def file(self, path: str, is_it: Callable[[int], bool]) -> _Sum:
        """Read a file, if it has not changed: asked by the time when it did last."""
        whole = hashlib.sha256()
        with disk.open_file(path) as stream:
            for block in disk.blocks(stream, disk.length(stream)):
                whole.update(block)
                self._look_at_the_clock()
            if not is_it(os.fstat(stream.fileno()).st_mtime_ns):
                msg = "changed after it was returned"
                raise _UnknownError(msg)
        return whole

    def folder(self, record: records.Digest) -> dict[str, str]:
        """Read all files of a folder, in the order of their names."""
        members: list[disk.Member] = []
        for member in disk.members(record.source):
            members.append(member)
            self._look_at_the_clock()
        members.sort(key=lambda member: member.name)
        whole = hashlib.sha256()
        for member in members:
            name = os.fsencode(member.name)
            content = self.file(member.path, lambda changed: changed <= record.changed)
            whole.update(len(name).to_bytes(8, "big") + name + content.digest())
        total = f"{size(sum(member.size for member in members))} in {len(members):,} files"
        return {"size": total, "sha256": whole.hexdigest()}

    def _look_at_the_clock(self) -> None:
        if time.monotonic() > self._until:
            msg = f"not read within {self._patience:g} s"
            raise _UnknownError(msg)
