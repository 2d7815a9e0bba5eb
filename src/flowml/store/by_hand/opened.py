"""The runs that the user's code opens by hand, by the session that they are opened in."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowml.store.by_hand.logged import ByHand

if TYPE_CHECKING:
    from mlflow import ActiveRun

_numbers = itertools.count(1)
_of_thread = threading.local()
OWN_RUN = 0
"""Stands for a session's own run among the numbers of runs."""


@dataclass(eq=False)
class Opened:
    """A run that the user's code opened.

    Attributes:
        run: The run, as MLflow gave it to the user.
        uri: The tracking URI that it was opened at.
        thread: Stands for the thread that it was opened in, the only one in which MLflow alone would know it.
        task: The asyncio task that it was opened in, if any.
        number: Counts upwards: a run that was opened later lies on top.
        home: MLflow's own stack, if it was opened outside all sessions.
        is_open: Whether it was not ended yet.
        is_left: Whether the task that opened it has ended without ending it.
    """

    run: ActiveRun
    uri: str
    thread: object
    task: asyncio.Task[object] | None
    number: int
    home: list[ActiveRun] | None = None
    is_open: bool = True
    is_left: bool = False

    def end(self) -> None:
        """Note that it was ended."""
        self.is_open = False
        if self.home is not None and self.run in self.home:
            self.home.remove(self.run)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was opened and ended in this very context; copied into threads and asyncio tasks, and apart from then on."""

    opened: tuple[Opened, ...] = ()
    ended: frozenset[int] = frozenset()  # numbers of the runs that were "ended" here alone
    known: str | None = ""  # the run that was ended last when the session's own run was used last, if it was used


NOTHING = Seen()


class Stack:
    """The runs that the user's code opens in one session, and those that were open round it.

    It does not know its session's run, which holds it: each task would leave a cycle to the garbage collector, and
    with MLflow imported that stops all threads for half a second.
    """

    __slots__ = ("above", "around", "by_hand", "kept", "left", "opened", "replacement")

    def __init__(self) -> None:
        self.by_hand: ByHand[Opened] | None = None
        self.above: Stack | None = None
        self.around: tuple[Opened, ...] = ()
        self.opened: list[Opened] = []
        self.left: list[Opened] = []  # by what was called in it
        self.replacement: ActiveRun | None = None  # of the session's own run, if that was deleted meanwhile
        self.kept = NOTHING  # while a generator's body waits for its consumer

    def begin(self, above: Stack | None, around: Iterable[Opened], experiment_named: object) -> None:
        """Take over what is open around the session, when it is first made active.

        Args:
            above: That of the session it was called in, if any.
            around: The runs that are open there.
            experiment_named: What names MLflow's experiment at this moment.
        """
        self.above, self.around = above, tuple(around)
        self.by_hand = above.by_hand if above and above.by_hand else ByHand(experiment_named)

    def take(self, run: Opened) -> None:
        """Take a run that is to be ended with the outermost call, and that nothing shows."""
        if self.by_hand:
            self.by_hand.left.append(run)

    def leave(self) -> list[Opened]:
        """Leave the runs open that the session's code did not end, to its caller and what that calls from now on.

        Returns:
            All runs that were left open below the outermost call.
        """
        if self.by_hand is None:
            return []
        for each in (*self.opened, *self.left):
            if each.is_open:
                if not each.is_left:
                    each.is_left = True
                    self.by_hand.left.append(each)
                if self.above:
                    self.above.left.append(each)
        return self.by_hand.left


def opened(run: ActiveRun, uri: str, home: list[ActiveRun] | None = None) -> Opened:
    """Make a note of a run that the user's code has opened in this thread."""
    return Opened(run, uri, this_thread(), this_task(), next(_numbers), home)


def this_thread() -> object:
    """Return what stands for this thread: its number may be another's later."""
    if not hasattr(_of_thread, "it"):
        _of_thread.it = object()
    found: object = _of_thread.it
    return found


def this_task() -> asyncio.Task[object] | None:
    """Return the asyncio task that runs here, if any."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
