"""Where an outermost call and all below it go: open until something needs it, for what the user says by hand wins."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from flowml import faults
from flowml.errors import FlowmlError
from flowml.locks import RLock

if TYPE_CHECKING:
    from flowml.store.backend.connection import Connection

_logger = logging.getLogger(__name__)

_SECONDS = 10.0  # after which a call that has asked for nothing is sent all the same, to be seen while it works


_open: WeakSet[LazyStore] = WeakSet()


class Choice(Protocol):
    """Says where a call goes, when that is needed."""

    def connect(self) -> Connection:
        """Choose for good, and return the connection to that store.

        Raises:
            TrackingError: If it cannot be reached.
        """

    def said(self) -> object:
        """Return what the user's code has named until now, to see later whether it named something else."""

    def place(self) -> Mapping[str, Any]:
        """Return the store that would be chosen now, without credentials, for the journal."""

    def is_loaded(self) -> bool:
        """Tell whether `connect` needs to import nothing, and may be called in the background."""


class LazyStore:
    """Which MLflow store the runs of an outermost call go to.

    It is chosen when something first needs it: an id is asked for, a task ends that did more than name a store, the
    call ends, or ten seconds have passed. Until then what is logged waits here, and ``mlflow.set_tracking_uri`` and
    ``mlflow.set_experiment`` in the call's first lines, or in a task that does only that, choose for all of it.

    Args:
        choice: Asked once where that is.
    """

    def __init__(self, choice: Choice | None, connection: Connection | None = None) -> None:
        self._choice = choice
        self._connection = connection
        self._reached: Connection | None = None
        self._problem: FlowmlError | None = None
        self._waiting: deque[Callable[[Connection], None]] = deque()
        # Re-entrant: the garbage collector may close a generator task inside.
        self._choosing = RLock()  # held for as long as it takes to connect
        self._lock = RLock()  # held for a moment
        self._clock: threading.Timer | None = None
        self._being_named = 0
        if connection is None:
            _open.add(self)
            self._wind_up()

    @classmethod
    def at(cls, connection: Connection) -> LazyStore:
        """Return one that is chosen already."""
        return cls(None, connection)

    @property
    def is_open(self) -> bool:
        """Whether it may still be chosen."""
        return self._connection is None and self._problem is None

    @property
    def has_failed(self) -> bool:
        """Whether it was chosen, and cannot be reached."""
        return self._problem is not None

    @property
    def connection(self) -> Connection:
        """The connection to the store; asking chooses it.

        Raises:
            FlowmlError: If the store cannot be reached.
        """
        return self._connection or self.fix()

    @property
    def reached(self) -> Connection:
        """The same for who is told that a run is there, also while what waited for the store waits for him.

        Raises:
            FlowmlError: If the store cannot be reached.
        """
        return self._connection or self._reached or self.fix()

    def fix(self) -> Connection:
        """Choose for good, and do what waited for it.

        Raises:
            FlowmlError: If the store cannot be reached; the same each time.
        """
        with self._choosing:
            if self._problem:
                raise self._problem
            if self._connection is None and self._choice is not None:
                _open.discard(self)
                if self._clock:
                    self._clock.cancel()
                try:
                    connection = self._choice.connect()
                except Exception as error:  # noqa: BLE001 - a store that nobody can choose is no store for anybody
                    faults.note(error)
                    text = faults.explain(error) if faults.is_own(error) else f"{type(error).__name__}: {error}."
                    self._problem = problem = error if isinstance(error, FlowmlError) else FlowmlError(text)
                    self._waiting.clear()
                    raise problem from None
                self._reached = connection
                self._hand_on(connection)
            assert self._connection is not None  # noqa: S101 - for the type checker: it has one or a choice
            return self._connection

    def _hand_on(self, connection: Connection) -> None:
        """Do what waited, in order; what comes in meanwhile waits its turn, and whoever brings it does not."""
        problem: FlowmlError | None = None
        while self._connection is None:
            with self._lock:
                if not self._waiting:
                    self._choice, self._connection, self._clock = None, connection, None
                    break
                tell = self._waiting.popleft()
            try:
                tell(connection)  # waits for MLflow where the setting `write` says so
            except FlowmlError as error:
                problem = problem or error
        if problem:
            raise problem

    def place(self) -> Mapping[str, Any]:
        """Return the store that is chosen, or would be now, without credentials, for the journal."""
        connection, choice = self._connection, self._choice
        if connection:
            return connection.place
        return choice.place() if choice else {}

    def said(self) -> object:
        """Return what the user's code has named until now; None once it is chosen."""
        choice = self._choice
        return choice.said() if choice else None

    def fix_unless_named(self, before: object) -> None:
        """Choose for good, unless the task that has ended named another store.

        Args:
            before: What was named when it began.

        Raises:
            FlowmlError: If the store cannot be reached.
        """
        if self.is_open and self.said() == before:
            self.fix()

    def when_fixed(self, tell: Callable[[Connection], None]) -> None:
        """Do something with the connection, in order: now if there is one, else when it is chosen."""
        with self._lock:
            connection = self._connection
            if connection is None and self._problem is None:
                self._waiting.append(tell)
        if connection is not None:
            tell(connection)

    @contextmanager
    def being_named(self) -> Iterator[None]:
        """Give the user's code time while it names a store: MLflow may have to make a whole database for that."""
        self._being_named += 1
        try:
            yield
        finally:
            self._being_named -= 1

    def fix_quietly(self) -> None:
        """Choose for good; that the store cannot be reached is told to whoever needs it."""
        try:
            self.fix()
        except FlowmlError:
            pass
        except Exception as error:  # noqa: BLE001 - in a thread of its own nobody hears of it
            faults.tell("choose where a call's runs go", error, _logger)

    def _wind_up(self) -> None:
        self._clock = threading.Timer(_SECONDS, self._time_is_up)
        self._clock.name, self._clock.daemon = "flowml-lazy-store", True
        self._clock.start()

    def _time_is_up(self) -> None:
        choice = self._choice
        if self._being_named or (choice and not choice.is_loaded()):
            self._wind_up()
        else:
            self.fix_quietly()


def fix_all() -> None:
    """Choose the stores of all calls of this process, whose records are to be sent now."""
    for store in list(_open):
        store.fix_quietly()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open.clear)  # what was open in other threads of the parent is the parent's
