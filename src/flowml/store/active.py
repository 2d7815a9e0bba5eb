"""Which runs ``mlflow.*`` calls see: MLflow's stack of active runs, made to follow the context.

MLflow keeps the stack in a thread-local variable, so asyncio tasks log into each other's runs, and a run that is open
round tasks is lost in their threads. Wherever a flowml session is active, this module answers in its place:

* The runs that the user's code opened, innermost last, are MLflow's stack, as they would be without flowml.
* Below them lies the session's own run. ``mlflow.log_*`` goes to it where no run of the user's is open, and
  ``mlflow.start_run()`` opens a run under it. ``mlflow.end_run()`` does not end it.

This module knows no MLflow: `fluent` puts it in the place of MLflow's stack. Everywhere else MLflow's own is used.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from flowml.store.by_hand import ByHand, HeldParams, Logged

if TYPE_CHECKING:
    from mlflow import ActiveRun

_numbers = itertools.count(1)


@dataclass(eq=False)
class Opened:
    """A run that the user's code opened.

    Attributes:
        run: The run, as MLflow gave it to the user.
        uri: The tracking URI that it was opened at.
        thread: The thread that it was opened in, the only one in which MLflow alone would know it.
        number: Counts upwards: a run that was opened later lies on top.
        home: MLflow's own stack, if it was opened outside all sessions.
        is_open: Whether it was not ended yet.
        is_left: Whether the task that opened it has ended without ending it.
    """

    run: ActiveRun
    uri: str
    thread: int
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
class _Own:
    """What was opened and ended in this very context; copied into threads and asyncio tasks, and apart from then on."""

    opened: tuple[Opened, ...] = ()
    ended: frozenset[int] = frozenset()  # numbers of runs around this session, ended here alone; 0 is its own run
    known: str | None = ""  # the run that was ended last when the session's own run was used last, if it was used


_NOTHING = _Own()


class Stack:
    """The runs that the user's code opens in one session, and those that were open round it.

    It does not know its session's run, which holds it: each task would leave a cycle to the garbage collector, and
    with MLflow imported that stops all threads for half a second.
    """

    __slots__ = ("around", "by_hand", "kept", "opened")

    def __init__(self) -> None:
        self.by_hand: ByHand[Opened] | None = None
        self.around: tuple[Opened, ...] = ()
        self.opened: list[Opened] = []
        self.kept = _NOTHING  # while a generator's body waits for its consumer

    def begin(self, outside: Callable[[], Iterable[Opened]]) -> ByHand[Opened]:
        """Take over what is open around the session, when it is first made active.

        Args:
            outside: Gives the runs that are open outside all sessions.
        """
        if self.by_hand is None:
            outer = _here.get()
            self.around = tuple(visible() if outer else outside())
            self.by_hand = outer.by_hand if outer else ByHand()
        return self.by_hand

    def leave(self) -> list[Opened]:
        """Leave the runs open that the session's code did not end, for the tasks after it; return all that are left."""
        if self.by_hand is None:
            return []
        for each in self.opened:
            if each.is_open and not each.is_left:
                each.is_left = True
                self.by_hand.left.append(each)
        return self.by_hand.left


class Here(Protocol):
    """The session whose user code runs in this context, as far as plain ``mlflow.*`` calls need to know it.

    Attributes:
        stack: What the user's code opens in it.
        by_hand: What the user's code did by hand below the outermost call.
        logged: What it has logged by hand inside this very call.
        held: Keeps the parameters of a flow that may be retried; None for other calls.
        say: Tells the user something, in the log of the flow.
    """

    stack: Stack
    by_hand: ByHand[Opened]
    logged: Logged
    held: HeldParams | None
    say: Callable[[str], None]

    def own(self) -> ActiveRun | None:
        """Return the session's own run, which is created then; None where it cannot be had.

        Raises:
            Exception: What MLflow raises when it fails in a way that may pass.
        """

    def run_id(self) -> str | None:
        """Return its own run's id; None as long as it is not created."""

    def lost(self) -> bool:
        """Tell whether its own run was deleted meanwhile; it is not asked for again then."""

    def other_run(self) -> str:
        """Return the id of the run that MLflow alone would log to."""

    def opened_apart(self, run: ActiveRun) -> None:
        """Hear that the user's code opened a run here in another experiment than that of the session's own."""

    def choosing_experiment(self) -> AbstractContextManager[None]:
        """Give the user's code time while it chooses an experiment."""

    def chose_experiment(self, name: str, experiment_id: str) -> None:
        """Hear that the user's code chose an experiment here."""


_here: ContextVar[Here | None] = ContextVar("flowml_active_runs", default=None)
_own: ContextVar[_Own] = ContextVar("flowml_opened_runs", default=_NOTHING)


def here() -> Here | None:
    """Return the session that is active in this context, if any."""
    return _here.get()


@contextmanager
def activated(session: Here) -> Iterator[None]:
    """Make a session's runs those that ``mlflow.*`` sees, in this context only."""
    stack = session.stack
    token, before = _here.set(session), _own.set(stack.kept)
    try:
        yield
    finally:
        stack.kept = _own.get()
        _own.reset(before)
        _here.reset(token)


def visible() -> list[Opened]:
    """Return the runs of the user's that are open here, innermost last: round the session, and in it."""
    session, own = _here.get(), _own.get()
    if session is None:
        return []
    around = {each.number: each for each in (*session.stack.around, *session.by_hand.left)}
    outer = [around[number] for number in sorted(around)]
    return [each for each in (*outer, *own.opened) if each.is_open and each.number not in own.ended]


def visible_to_mlflow() -> list[Opened]:
    """Return those of them that MLflow alone would know of: they were opened in this thread."""
    thread = threading.get_ident()
    return [each for each in visible() if each.thread == thread]


def own_run() -> ActiveRun | None:
    """Return the session's own run, which is created for it; None where there is none for this store."""
    session = _here.get()
    return session.own() if session else None


def current_run(ended_last: str | None) -> ActiveRun | None:
    """Return what ``mlflow.active_run()`` gives: the innermost open run, the session's own if it is not "ended".

    Args:
        ended_last: The run that was ended last in this thread.
    """
    if seen := visible():
        return seen[-1].run
    return None if 0 in _own.get().ended else _used(ended_last)


def run_to_log_to(ended_last: str | None) -> ActiveRun | None:
    """Return the run that ``mlflow.log_*`` goes to; as MLflow opens one when none is, it is the active one then."""
    if seen := visible():
        return seen[-1].run
    if (own := _used(ended_last)) is not None:
        _note_ended(0, ended=False)
    return own


def has_ended_since(ended_last: str | None) -> bool:
    """Tell whether the run that was ended last was ended after the session's own was used, if it was, or "ended"."""
    own = _own.get()
    return ended_last is not None and (0 in own.ended or ended_last != own.known)


def _used(ended_last: str | None) -> ActiveRun | None:
    if (own := own_run()) is not None:
        _own.set(replace(_own.get(), known=ended_last))
    return own


def run_above() -> ActiveRun | None:
    """Return the run that one is opened under which MLflow alone would open under none.

    It is the innermost that this session's code has open in another thread or asyncio task, else the session's own.
    """
    own = [each for each in _own.get().opened if each.is_open]
    return own[-1].run if own else own_run()


def innermost_of_users() -> Opened | None:
    """Return the innermost run of the user's that is open here: what is called here hangs under it."""
    seen = visible()
    return seen[-1] if seen else None


def opened(run: ActiveRun, uri: str, home: list[ActiveRun] | None = None) -> Opened:
    """Make a note of a run that the user's code has opened in this thread."""
    return Opened(run, uri, threading.get_ident(), next(_numbers), home)


def was_opened(run: ActiveRun, uri: str) -> None:
    """Take a run that the user's code has opened here."""
    session, own = _here.get(), _own.get()
    if session:
        new = opened(run, uri)
        session.stack.opened.append(new)
        session.by_hand.runs.add(str(run.info.run_id))
        _own.set(replace(own, opened=(*own.opened, new)))


def to_end() -> Opened | None:
    """Return the run that ``mlflow.end_run()`` is to end here, if any; what it must not end counts as ended here.

    A task that runs in a thread of its own, and begins with ``mlflow.end_run()`` as notebooks do, must not end the run
    that is open around it: MLflow alone would not know that run there.
    """
    seen = visible()
    if not seen:
        _note_ended(0, ended=True)
        return None
    top = seen[-1]
    if top.thread == threading.get_ident() or top.is_left:
        return top
    _note_ended(top.number, ended=True)
    return None


def _note_ended(number: int, *, ended: bool) -> None:
    own = _own.get()
    _own.set(replace(own, ended=own.ended | {number} if ended else own.ended - {number}))
