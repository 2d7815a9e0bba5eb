"""Where a study is kept: a journal file of this project, or a database that several machines reach."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from filelock import FileLock, Timeout

from flowml import settings
from flowml.errors import TuningError
from flowml.secrets.uris import without_credentials

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage, RDBStorage

_SEARCHES = "tune"  # the folder in flowml's home
_ENDING = ".journal"
_PATIENCE = 300.0  # seconds, for which a lock is waited for: a sampler may think long
_POLL = 0.001  # seconds, between two looks at a lock that somebody has
_MOST_STUDIES = 8  # that a process keeps open
_OLDEST = 5  # the first Optuna that was tried


@dataclass(frozen=True, slots=True)
class Place:
    """Where one study is kept; it can be sent to another process.

    Attributes:
        study: Its name.
        file: The journal file; None if it is in a database.
        url: The database, as SQLAlchemy names it. It may hold a password, and is never shown.
    """

    study: str
    file: Path | None = None
    url: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return str(self.file) if self.file else without_credentials(str(self.url))

    def storage(self) -> BaseStorage:
        """Return Optuna's storage, one for a process.

        Raises:
            TuningError: If the database cannot be reached, or Optuna is missing.
        """
        return _opened(self.file, self.url, os.getpid())

    def study_to_tell(self, pruner: BasePruner | None = None) -> Study:
        """Return the study for those that only tell it something, one for a process.

        Its sampler chooses nothing. Some that do end Optuna's own loop when they are told of a trial, and fail outside.

        Args:
            pruner: What decides when a trial is given up.
        """
        key = (self, os.getpid(), pruner is None)
        if key not in _to_tell:
            optuna = imported()
            if len(_to_tell) >= _MOST_STUDIES:
                _to_tell.clear()
            _to_tell[key] = optuna.load_study(
                study_name=self.study,
                storage=self.storage(),
                sampler=optuna.samplers.RandomSampler(),
                pruner=pruner,
            )
        return _to_tell[key]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from beginning a trial of this study meanwhile; a killed one keeps nobody."""
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with _locked(f"{self.file}.claims"):
                yield
            return
        engine = cast("RDBStorage", self.storage()).engine
        if engine.dialect.name == "sqlite":
            with _locked(f"{engine.url.database}.{_file_name(self.study)}.claims"):
                yield
            return
        from sqlalchemy import text

        key = int.from_bytes(hashlib.sha256(self.study.encode()).digest()[:8], "big", signed=True)
        with engine.connect() as connection:  # the database takes the lock back when the connection is gone
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})


_to_tell: dict[tuple[Place, int, bool], Study] = {}


def place_of(study: str, storage: str | None) -> Place:
    """Return where a study is kept.

    Args:
        study: Its name.
        storage: A database. Default: a file in flowml's home.

    Raises:
        TypeError: If the storage is no text.
        TuningError: If it is of a kind that flowml was not tried with.
    """
    if storage is None:
        return Place(study, file=settings.home_folder() / _SEARCHES / f"{_file_name(study)}{_ENDING}")
    if not isinstance(storage, str):
        msg = f"tune(storage=...) takes the URL of a database, not {type(storage).__name__}: processes are sent it."
        raise TypeError(msg)
    url = settings.resolved(storage) or ""
    if not url.startswith(("sqlite:///", "postgresql")):
        msg = (
            f"The study {study!r} cannot be kept in {without_credentials(url)!r}. Give a database as "
            "'postgresql://user@host/name' or 'sqlite:///file.db', or leave storage= out for a file of this project."
        )
        raise TuningError(msg)
    return Place(study, url=url)


def studies_here() -> list[str]:
    """Return the names of the studies that are kept in files of this project."""
    import optuna

    found = []
    for file in sorted((settings.home_folder() / _SEARCHES).glob(f"*{_ENDING}")):
        found += optuna.get_all_study_names(_opened(file, None, os.getpid()))
    return found


@lru_cache(maxsize=16)
def _opened(file: Path | None, url: str | None, pid: int) -> BaseStorage:  # noqa: ARG001 - a forked process opens its own
    optuna = imported()
    if file is not None:
        from flowml.tuning.journal import Journal

        file.parent.mkdir(parents=True, exist_ok=True)
        return optuna.storages.JournalStorage(Journal(file))  # type: ignore[no-any-return]
    try:
        return optuna.storages.RDBStorage(str(url))  # type: ignore[no-any-return]
    except Exception as error:  # noqa: BLE001 - of SQLAlchemy, a driver or the network; told, without its password
        shown = without_credentials(str(url))
        msg = f"Optuna cannot use the database {shown}: {type(error).__name__}: {without_credentials(str(error))}"
        raise TuningError(msg) from None


def imported() -> Any:
    """Return Optuna.

    Raises:
        TuningError: If it is not installed, or too old.
    """
    try:
        import optuna
    except ImportError as error:
        msg = 'tune() needs Optuna, which is not installed here. Run: pip install "prefect-flowml[tune]"'
        raise TuningError(msg) from error
    if int(optuna.__version__.split(".")[0]) < _OLDEST:
        msg = (
            f'tune() needs Optuna {_OLDEST} or newer, not {optuna.__version__}. Run: pip install -U "optuna>={_OLDEST}"'
        )
        raise TuningError(msg)
    return optuna


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold a lock that the operating system takes back from a process that is killed.

    Raises:
        TuningError: If somebody else holds it for minutes.
    """
    try:
        held = FileLock(path, timeout=_PATIENCE).acquire(_PATIENCE, poll_interval=_POLL)
    except Timeout:
        msg = (
            f"Another process has held {path} for {_PATIENCE:g} seconds, in which it is to choose one trial: its "
            "sampler is too slow, or it was stopped. End it, and start this search again."
        )
        raise TuningError(msg) from None
    with held:
        yield


_LONGEST = 100  # characters of a file's name, which has an ending, and may have a suffix beside it


def _file_name(study: str) -> str:
    """Return a name that any disk takes, and no other study has."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", study).strip(".")
    return (
        plain
        if plain == study and len(plain) <= _LONGEST
        else f"{plain[:80]}-{hashlib.sha256(study.encode()).hexdigest()[:8]}"
    )
