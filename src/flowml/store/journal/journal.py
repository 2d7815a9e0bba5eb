"""The journal of one process: what it logged, in one SQLite file, until MLflow has it.

Whoever has it open holds the lock of a file beside it, which the system takes back when the process ends, however it
ends. So a journal whose lock can be taken is nobody's any more.
"""

from __future__ import annotations

import ctypes
import json
import os
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowml import settings
from flowml.locks import RLock
from flowml.store.journal import on_disk
from flowml.store.journal.on_disk import JournalError, JournalInUseError

TAG = "flowml.id"
"""The tag of a run, and of a logged model, by which whoever sends it again finds it."""

TORN = "torn"
"""The kind of an entry that cannot be read."""

_LOOK = 500  # so many entries are added between two looks at its size
_EVERY = 0.1  # seconds between two looks whether the file is there: each lets the thread that sends go first
_CHECKPOINT = 16_000_000  # bytes of the write-ahead log, after which it is written into the file


class JournalClosedError(JournalError):
    """A journal went with the last run in it; the next one begins another."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a journal.

    Attributes:
        number: Its number; later ones are greater.
        run: The key of the run, or of the model, that it is about.
        kind: What it tells.
        data: What, as JSON has it.
    """

    number: int
    run: str
    kind: str
    data: Any


class Journal:
    """An open journal; its methods may be called in any thread.

    Args:
        path: The file.
        connection: SQLite's connection to it.
        lock: The open file that holds its lock.
        is_own: Whether this process began it; what another left of files goes with it.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int, *, is_own: bool = True) -> None:
        self.path = path
        self._held = lock
        self._is_own = is_own
        self._connection: sqlite3.Connection | None = connection
        self._lock = RLock()
        self._alive: set[str] = set()
        self._added, self._is_full = 0, False
        self._look_again = 0.0
        _open_here.add(path)

    @classmethod
    def new(cls, folder: Path) -> Journal:
        """Begin a journal.

        Args:
            folder: Where; it is made, and only its owner may look into it.

        Raises:
            JournalError: If it cannot be written.
        """
        try:
            return cls._new(folder)
        except JournalError:  # another process looked at it this moment, or its last journal went with the folder
            return cls._new(folder)

    @classmethod
    def _new(cls, folder: Path) -> Journal:
        path = on_disk.name_in(folder)
        with on_disk.explained(path):
            folder.mkdir(parents=True, exist_ok=True)
            return cls(path, *on_disk.made(path))

    @classmethod
    def adopt(cls, path: Path) -> Journal:
        """Open a journal that another process left.

        Raises:
            JournalInUseError: If that process, or another that sends it, is at work; or it went this moment.
            JournalError: If it is none, one of a newer flowml, or without its files.
        """
        if path in _open_here:
            msg = f"{path} is this process's own."
            raise JournalInUseError(msg)
        with on_disk.explained(path):
            journal = cls(path, *on_disk.opened(path), is_own=False)
        try:
            journal._require_its_files()
        except BaseException:
            journal._release(is_over=False)
            raise
        return journal

    def _require_its_files(self) -> None:
        entries = self.entries()
        self._alive = {entry.run for entry in entries}
        name = self.files.name
        if not self.files.is_dir() and any(f"{name}/" in _as_json(entry.data) for entry in entries):
            bring = f"Bring {name} back beside it, or make an empty folder of that name to have the rest sent without."
            msg = f"the files of {self.path} are gone, and it waits for them. {bring}"
            raise JournalError(msg)

    @property
    def files(self) -> Path:
        """The folder of the files that wait with it."""
        return self.path.with_suffix(".files")

    def add(self, run: str, entries: Iterable[tuple[str, Any]]) -> int:
        """Write what is told about a run; it is on the disk's side of this process when this returns.

        Args:
            run: Its key.
            entries: Kinds, and data for JSON.

        Returns:
            The number of the last entry.

        Raises:
            JournalError: If it cannot be written.
        """
        rows = [(run, kind, _as_json(data)) for kind, data in entries]
        with self._lock, on_disk.explained(self.path):
            connection = self._opened()
            self._check_size(connection)
            self._alive.add(run)
            values = [value for row in rows for value in row]
            return int(connection.execute(_INSERT + ", (?, ?, ?)" * (len(rows) - 1), values).lastrowid or 0)

    def _check_size(self, connection: sqlite3.Connection) -> None:
        """Look now and then whether it has passed its limit.

        Raises:
            JournalError: If it has.
        """
        self._added += 1
        if self._added % _LOOK == 1 or self._is_full:
            most, size = settings.current().journal_limit, on_disk.size_of_entries(connection)
            self._is_full = size > most
            if self._is_full:
                msg = f"The journal {self.path} has {size:,} bytes, more than its limit of {most:,} (journal_limit)."
                raise JournalError(msg)

    def clear(self, numbers: Iterable[int]) -> None:
        """Take entries away that MLflow has.

        Raises:
            JournalError: If it cannot be written.
        """
        with self._lock, on_disk.explained(self.path):
            if self._connection:
                self._connection.executemany("DELETE FROM entries WHERE number = ?", [(each,) for each in numbers])
                self._shorten(self._connection)

    def done(self, run: str) -> None:
        """Take all of a run away; the file goes with the last one.

        Raises:
            JournalError: If it cannot be written.
        """
        with self._lock, on_disk.explained(self.path):
            if self._connection is None or run not in self._alive:
                return
            self._alive.discard(run)
            self._connection.execute("DELETE FROM entries WHERE run = ?", (run,))
            if self._alive:
                self._shorten(self._connection)
            else:
                self.close()

    def keep_headers(self, run: str, kinds: Iterable[str]) -> None:
        """Take all of a run away but for entries of some kinds.

        Raises:
            JournalError: If it cannot be written.
        """
        with self._lock, on_disk.explained(self.path):
            self.clear([entry.number for entry in self.entries(run) if entry.kind not in kinds])

    def set_aside(self, numbers: Iterable[int]) -> Path:
        """Keep a copy of it as it is, for somebody to look at, and take away what cannot be read.

        Returns:
            The copy.

        Raises:
            JournalError: If it cannot be written.
        """
        copy = self.path.with_suffix(".torn")
        with self._lock, on_disk.explained(self.path):
            if self._connection and not copy.exists():
                self._connection.execute("VACUUM INTO ?", (str(copy),))
            self.clear(numbers)
            self._alive = {entry.run for entry in self.entries()}
        return copy

    def _shorten(self, connection: sqlite3.Connection) -> None:
        """Write the log into the file where it is long; done in the thread that sends, for that waits for the disk."""
        if on_disk.size_of_log(self.path) > _CHECKPOINT:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def entries(self, run: str | None = None) -> list[Entry]:
        """Read all entries, or those of a run; one that is torn is of the kind `TORN`."""
        with self._lock, on_disk.explained(self.path):
            if self._connection is None:
                return []
            mine = "SELECT * FROM entries WHERE run = coalesce(?, run) ORDER BY number"
            rows = self._connection.execute(mine, (run,)).fetchall()
        found = []
        for number, of_run, kind, data in rows:
            try:
                found.append(Entry(number, of_run, kind, json.loads(data)))
            except ValueError:
                found.append(Entry(number, of_run, TORN, None))
        return found

    def close(self) -> None:
        """Let go of it; the file stays where something waits in it."""
        self._release(is_over=not self._alive)

    def _release(self, *, is_over: bool) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            _open_here.discard(self.path)
            if connection:
                connection.close()
                if is_over:
                    on_disk.delete(self.path, with_files=not self._is_own)
                os.close(self._held)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and time.monotonic() > self._look_again:
            self._look_again = time.monotonic() + _EVERY
            if not self.path.exists():  # somebody has removed the folder
                self._alive.clear()
                self.close()
        if self._connection is None:
            msg = f"{self.path} is closed"
            raise JournalClosedError(msg)
        return self._connection

    def is_open(self) -> bool:
        """Tell whether more can be written."""
        return self._connection is not None

    def leave_to_parent(self) -> None:
        """Leave it alone in a forked child: closing it would write to what is the parent's."""
        if self._connection is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))  # so that it is never closed
            self._connection = None
            os.close(self._held)


_as_json = json.JSONEncoder(separators=(",", ":")).encode
_INSERT = "INSERT INTO entries (run, kind, data) VALUES (?, ?, ?)"
_open_here: set[Path] = set()  # opening a file again, and closing it, would take back this process's lock


def is_open_here(path: Path) -> bool:
    """Tell whether this process holds a journal: it must not open it again."""
    return path in _open_here


_current: dict[Path, Journal] = {}
_making = RLock()


def current() -> Journal | None:
    """Return this process's journal for the project; None where settings turn it off.

    Raises:
        JournalError: If it cannot be written.
    """
    if not settings.current().journal:
        return None
    folder = on_disk.folder_of(settings.home_folder())
    with _making:
        found = _current.get(folder)
        if found is None or not found.is_open():
            found = _current[folder] = Journal.new(folder)
        return found


def close_all() -> None:
    """Let go of the journals of this process, at its end; those stay in which something waits."""
    with _making:
        for journal in list(_current.values()):
            journal.close()
        _current.clear()


def _begin_anew() -> None:
    for journal in _current.values():
        journal.leave_to_parent()
    _current.clear()
    _open_here.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
