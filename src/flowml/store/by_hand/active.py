"""Which runs ``mlflow.*`` calls see: MLflow's stack of active runs, made to follow the context.

MLflow keeps the stack in a thread-local variable, so asyncio tasks log into each other's runs, and a run that is open
round tasks is lost in their threads. Wherever a flowml session is active, this module answers in its place:

* The runs that the user's code opened, innermost last, are MLflow's stack, as they would be without flowml.
* Below them lies the session's own run. ``mlflow.log_*`` goes to it where no run of the user's is open, and
  ``mlflow.start_run()`` opens a run under it. ``mlflow.end_run()`` does not end it.

This module knows no MLflow: `fluent` puts it in the place of MLflow's stack. Everywhere else MLflow's own is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, cast

from flowml.store.by_hand.logged import ByHand, HeldParams, Logged
from flowml.store.by_hand.opened import NOTHING, OWN_RUN, Opened, Seen, Stack, opened, this_task, this_thread

if TYPE_CHECKING:
    from mlflow import ActiveRun

    from flowml.store.usage.spent import Spent


class Here(Protocol):
    """The session whose user code runs in this context, as far as plain ``mlflow.*`` calls need to know it.

    Attributes:
        stack: What the user's code opens in it.
        by_hand: What the user's code did by hand below the outermost call.
        logged: What it has logged by hand inside this very call.
        held: Keeps the parameters of a flow that may be retried; None for other calls.
        joins: Whether ``mlflow.start_run()`` gives its own run, as where MLflow is told a run by the environment.
        say: Tells the user something, in the log of the flow.
    """

    stack: Stack
    by_hand: ByHand[Opened]
    logged: Logged
    held: HeldParams | None
    joins: bool
    say: Callable[[str], None]

    def own(self) -> ActiveRun | None:
        """Return the session's own run, which is created then; None where it cannot be had.

        Raises:
            Exception: What MLflow raises when it fails in a way that may pass.
        """

    def run_id(self) -> str | None:
        """Return its own run's id; None as long as it is not created."""

    def lost(self) -> bool:
        """Tell whether its own run was deleted meanwhile."""

    def other_run(self) -> str:
        """Return the id of the run that takes the place of its own, which was deleted."""

    def opened_apart(self, run: ActiveRun) -> None:
        """Hear that the user's code opened a run here in another experiment than that of the session's own."""

    def choosing_experiment(self) -> AbstractContextManager[None]:
        """Give the user's code time while it chooses an experiment."""

    def chose_experiment(self, name: str, experiment_id: str) -> None:
        """Hear that the user's code chose an experiment here."""


_here: ContextVar[Here | None] = ContextVar("flowml_active_runs", default=None)
_at_work: list[Here] = []  # those that are active anywhere in this process, in the order in which they began
_FLOW_AND_TASK = 2
_own: ContextVar[Seen] = ContextVar("flowml_opened_runs", default=NOTHING)


def here() -> Here | None:
    """Return the session that is active in this context, if any."""
    return _here.get()


def here_or_only() -> Here | None:
    """Return the session of this context, or who answers for a thread that the user's code began without a context.

    That is the call that is at work, if only one is, in a flow or by itself; else the outermost.
    """
    if (session := _here.get()) is not None:
        return session
    at_work = list(_at_work)
    return (at_work[-1] if len(at_work) <= _FLOW_AND_TASK else at_work[0]) if at_work else None


@contextmanager
def activated(session: Here) -> Iterator[None]:
    """Make a session's runs those that ``mlflow.*`` sees, in this context only."""
    stack = session.stack
    token, before = _here.set(session), _own.set(stack.kept)
    _at_work.append(session)
    try:
        yield
    finally:
        _at_work.remove(session)
        stack.kept = _own.get()
        _own.reset(before)
        _here.reset(token)


@contextmanager
def answering(session: Here | None) -> Iterator[None]:
    """Let what another thread does for a session, which has no context of it, be the session's."""
    token = _here.set(session)
    try:
        yield
    finally:
        _here.reset(token)


@contextmanager
def metered(session: Here | None, spent: Spent) -> Iterator[None]:
    """Let it be the session's, but what it asks of language models, which is counted apart."""
    if session is None:
        session = here_or_only()
    with answering(session and cast("Here", _Metered(session, spent))):
        yield


class _Metered:
    """A session, whose tokens are counted apart."""

    def __init__(self, session: Here, spent: Spent) -> None:
        self._session = session
        self.logged = copy(session.logged)
        self.logged.spent = spent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def begin(
    stack: Stack, outside: Callable[[], Iterable[Opened]], experiment_named: Callable[[], object]
) -> ByHand[Opened]:
    """Have a session take over what is open around it, when it is first made active.

    Args:
        stack: What its code opens.
        outside: Gives the runs that are open outside all sessions.
        experiment_named: Returns what names MLflow's experiment now.
    """
    if stack.by_hand is None:
        outer = _here.get()
        stack.begin(outer.stack if outer else None, visible() if outer else outside(), experiment_named())
    assert stack.by_hand is not None  # noqa: S101 - for the type checker: it has begun
    return stack.by_hand


def visible() -> list[Opened]:
    """Return the runs of the user's that are open here, innermost last: round the session, and in it."""
    session, own = _here.get(), _own.get()
    if session is None:
        return []
    stack = session.stack
    around = {each.number: each for each in (*stack.around, *stack.left)}
    outer = [around[number] for number in sorted(around)]
    inner = own.opened if len(own.opened) == len(stack.opened) else _opened_here(stack, own)
    return [each for each in (*outer, *inner) if each.is_open and each.number not in own.ended]


def _opened_here(stack: Stack, own: Seen) -> list[Opened]:
    """Return the runs that this context knows, and those of this thread whose asyncio task is over."""
    thread, task = this_thread(), this_task()
    return [
        each
        for each in stack.opened
        if each in own.opened or (each.thread is thread and (each.task in {None, task} or each.task.done()))
    ]


def visible_to_mlflow() -> list[Opened]:
    """Return those of them that MLflow alone would know of: they were opened in this thread."""
    thread = this_thread()
    return [each for each in visible() if each.thread is thread]


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
    return None if OWN_RUN in _own.get().ended else _used(ended_last)


def run_to_log_to(ended_last: str | None) -> ActiveRun | None:
    """Return the run that ``mlflow.log_*`` goes to; as MLflow opens one when none is, it is the active one then."""
    if seen := visible():
        return seen[-1].run
    if (own := _used(ended_last)) is not None:
        _note_ended(OWN_RUN, ended=False)
    return own


def has_ended_since(ended_last: str | None) -> bool:
    """Tell whether the run that was ended last was ended after the session's own was used, if it was, or "ended"."""
    own = _own.get()
    return ended_last is not None and (OWN_RUN in own.ended or ended_last != own.known)


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


def joined(run_id: str | None) -> ActiveRun | None:
    """Return the session's own run for a ``mlflow.start_run()`` that is to join it, which is the active one then.

    Args:
        run_id: The run that is asked for, if any is.
    """
    session = _here.get()
    if session is None or not session.joins or (run_id and run_id != session.run_id()):
        return None
    if (own := session.own()) is not None:
        _note_ended(OWN_RUN, ended=False)
    return own


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
        _note_ended(OWN_RUN, ended=True)
        return None
    top = seen[-1]
    if top.thread is this_thread() or top.is_left:
        return top
    _note_ended(top.number, ended=True)
    return None


def _note_ended(number: int, *, ended: bool) -> None:
    own = _own.get()
    _own.set(replace(own, ended=own.ended | {number} if ended else own.ended - {number}))
