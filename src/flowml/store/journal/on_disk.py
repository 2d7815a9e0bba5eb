"""A journal's file on the disk: its name, its lock, its tables, and what belongs to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import time
import uuid
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

from flowml.errors import FlowmlError

try:
    import fcntl
except ImportError:  # on Windows SQLite's own lock is not lost
    fcntl = None  # type: ignore[assignment]

FORM = 1
"""The version of what is written; each flowml reads its own and those before."""

_LOCK = ".lock"
_TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE entries (number INTEGER PRIMARY KEY, run TEXT NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL);
CREATE INDEX entries_of_run ON entries (run);
"""
SUFFIX = ".db"
"""How the name of a journal ends; before that stand the time, the machine, the process and a random part."""

LATE = ".late"
"""How the name of a note beside a journal ends."""


class JournalError(FlowmlError):
    """A journal cannot be read or written."""


class JournalInUseError(JournalError):
    """A journal belongs to a process that is at work."""


def folder_of(home: Path) -> Path:
    """Return where the journals of a project are."""
    return home / "journal"


@cache
def host_name() -> str:
    """Return this machine's name as journals have it in theirs."""
    return "".join(letter if letter.isalnum() else "_" for letter in socket.gethostname())[:40] or "host"


def name_in(folder: Path) -> Path:
    """Return a new name: its time, machine and process are told without opening it."""
    return folder / f"{time.strftime('%Y%m%dT%H%M%S')}-{host_name()}-{os.getpid()}-{uuid.uuid4().hex[:8]}{SUFFIX}"


def made(path: Path) -> tuple[sqlite3.Connection, int]:
    """Make a journal's file; its folder is there.

    Returns:
        SQLite's connection to it, and the open file that holds its lock.

    Raises:
        JournalError: If somebody else has the lock.
        Exception: Of SQLite, or the disk.
    """
    with _held(path) as lock:  # first: nobody takes the file before it is whole
        try:
            _make_file(path)
            connection = _connect(path)
            _make_tables(connection)
        except BaseException:  # on a full disk it is tried again at each call: leave nothing of it
            delete(path, with_files=False)
            raise
    return connection, lock


def opened(path: Path) -> tuple[sqlite3.Connection, int]:
    """Open a journal's file that is there, as `made` does.

    Raises:
        JournalInUseError: If its process is at work, or it is gone.
        JournalError: If it is none, or one of a newer flowml.
        Exception: Of SQLite, or the disk.
    """
    if not path.is_file():
        raise JournalInUseError(_gone(path))
    with _held(path) as lock:
        if not path.is_file():
            path.with_suffix(_LOCK).unlink(missing_ok=True)  # made by this look
            raise JournalInUseError(_gone(path))
        connection = _connect(path)
        try:
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                _make_tables(connection)  # its process was killed before it wrote anything
            _check_form(path, connection)
        except BaseException:
            connection.close()
            raise
    return connection, lock


def _gone(path: Path) -> str:
    return f"{path} is gone."


def size_of_entries(connection: sqlite3.Connection) -> int:
    """Return the bytes of what waits in a journal, without the room that entries left that are gone."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def size_of_log(path: Path) -> int:
    """Return the bytes of the write-ahead log of a journal."""
    log = path.with_name(f"{path.name}-wal")
    return log.stat().st_size if log.exists() else 0


@contextlib.contextmanager
def _held(path: Path) -> Iterator[int]:
    """Take a journal's lock, and give it back if what is done then fails."""
    lock = _locked(path)
    try:
        yield lock
    except BaseException:
        os.close(lock)
        raise


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.executescript(_TABLES)
    about = {"form": str(FORM), "flowml": version("prefect-flowml")}
    connection.executemany("INSERT INTO about VALUES (?, ?)", about.items())


def _locked(path: Path) -> int:
    """Take the lock of a journal; the system takes it back when the process ends.

    SQLite's own lock is lost as soon as the process opens and closes the file in whatever way; this one is not.

    Raises:
        JournalInUseError: If another process has it.
    """
    name = path.with_suffix(_LOCK)
    lock = os.open(name, os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        msg = f"{path} is in use by another process."
        raise JournalInUseError(msg) from None
    return lock


def is_locked(path: Path) -> bool | None:
    """Tell whether a process of this machine has a journal's lock; None where that cannot be told."""
    if fcntl is None:
        return None
    try:
        lock = os.open(path.with_suffix(_LOCK), os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:  # somebody else's
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # the file system has no locks
        return None
    finally:
        os.close(lock)
    return False


def _make_file(path: Path) -> None:
    folder = path.parent
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    note = folder.parent / ".gitignore"
    if not note.exists():
        note.write_text("*\n")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0.2, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA synchronous = OFF")  # an empty file is nothing to wait for
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # the thread that sends does it, and no task waits
        connection.execute("BEGIN IMMEDIATE")  # takes the lock, and keeps it
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_form(path: Path, connection: sqlite3.Connection) -> None:
    try:
        form = int(connection.execute("SELECT value FROM about WHERE name = 'form'").fetchone()[0])
    except (sqlite3.Error, TypeError, ValueError):
        msg = f"{path} is no journal of flowml's. Move it out of that folder."
        raise JournalError(msg) from None
    if form > FORM:
        msg = f"{path} is of a newer flowml (form {form}; this one reads {FORM}). Upgrade flowml to send it."
        raise JournalError(msg)


def delete(path: Path, *, with_files: bool) -> None:
    """Remove a journal with all that belongs to it, and the folders that nothing else is in."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.stem}{_LOCK}"):
        with contextlib.suppress(OSError):
            path.with_name(name).unlink()
    for note in path.parent.glob(f"{path.stem}.*{LATE}"):
        with contextlib.suppress(OSError):
            note.unlink()
    files = path.with_suffix(".files")
    if with_files:
        shutil.rmtree(files, ignore_errors=True)
    with contextlib.suppress(OSError):
        files.rmdir()  # those that somebody still holds go with it
    with contextlib.suppress(OSError):
        path.parent.rmdir()
        home = path.parent.parent
        if [each.name for each in home.iterdir()] == [".gitignore"]:  # who has a store elsewhere needs no folder
            (home / ".gitignore").unlink()
            home.rmdir()


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk say into a `JournalError`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            msg = f"{path} is in use by another process."
            raise JournalInUseError(msg) from None
        raise _failed(path, error) from None
    except (sqlite3.DatabaseError, OSError) as error:
        raise _failed(path, error) from None


def _failed(path: Path, error: Exception) -> JournalError:
    return JournalError(
        f"The journal {path} cannot be written or read: {error}. Check the disk, or set FLOWML_HOME elsewhere."
    )
