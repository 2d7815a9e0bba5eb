"""What takes long in an async call is done in another thread: its event loop, and all that runs on it, goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from flowml import settings, store
from flowml.capture.call import Ahead, Call
from flowml.capture.session import Session, current, is_off
from flowml.options import Track

_SCALARS = (bool, int, float, complex, type(None))
_TEXT = 10_000  # characters or bytes, and members of a container: so many are described at once
_MEMBERS = 100


def load_ahead(track: Track | None) -> None:
    """Import what the call of an async function needs before its loop runs, as in ``asyncio.run(flow())``.

    What is imported while it runs holds it, and in another thread an import could meet one of the user's.
    """
    with suppress(Exception):  # it comes again when the call begins, and is told then
        if track is not None and not is_off() and settings.current().enabled and not _is_running():
            store.load()


def _is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def begun(call: Call) -> Session:
    """Begin a session, in this thread: which run the user has active is known here alone."""
    is_small = _is_small(dict(call.logged_arguments()))
    session = Session.begin(call, inputs=is_small, ahead=await _ahead(call))
    if not is_small and session.run is not store.NO_RUN:
        async with _failing(session):
            await asyncio.to_thread(session.log_inputs)
    return session


@asynccontextmanager
async def _failing(session: Session) -> AsyncIterator[None]:
    """Let the session fail with what is raised inside, be it a cancellation."""
    try:
        yield
    except BaseException as error:
        await failed(session, error)
        raise


async def _ahead(call: Call) -> Ahead | None:
    """Find out what an outermost call waits for before it begins; nothing has to be waited for below one."""
    if current() is not None or call.track is None:
        return None
    with suppress(Exception):  # it comes again when the session begins, and is told then
        if settings.reload().enabled:
            return await asyncio.to_thread(_look, call, store.reaching())
    return None


def _look(call: Call, reach: store.Reach) -> Ahead:
    caller = call.orchestrator.find_caller()
    if caller is None:
        return Ahead(is_known=True, reached=reach())
    return Ahead(is_known=True, parent=store.join(caller), caller=caller)


async def yielded(session: Session, value: Any) -> None:
    """Log one value of a generator."""
    await _in_its_place(value, partial(session.yielded, value))


async def returned(session: Session, value: Any) -> None:
    """Log the outputs, and end the session."""
    session.take_failure(value)
    async with _failing(session):
        await _in_its_place(value, partial(session.log_outputs, value))
    session.ended()
    if session.waits_here:
        await asyncio.to_thread(session.settle)


async def complete(session: Session) -> None:
    """Log what was left to be logged, and close the run, also where this is cancelled."""
    if session.deferred and _is_small(session.deferred[0]):
        session.complete()
    elif session.deferred:
        try:
            await asyncio.to_thread(session.log_deferred)
        finally:
            session.close()


async def failed(session: Session, error: BaseException) -> None:
    """End the session with an error."""
    if not session.failed(error):
        return
    if isinstance(error, Exception) or session.call.orchestrator.is_pause(error):
        await asyncio.to_thread(session.settle, raising=False)
    else:  # the loop, or the process, is about to end
        session.settle(raising=False)


async def _in_its_place(value: Any, log: Callable[[], None]) -> None:
    """Log a value here if that takes a moment, else in another thread: a model may take seconds."""
    if _is_small(value):
        log()
    else:
        await asyncio.to_thread(log)


def _is_small(value: Any, *, depth: int = 2) -> bool:
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind in {str, bytes}:
        return len(value) <= _TEXT
    if kind not in {list, tuple, set, dict} or not depth or len(value) > _MEMBERS:
        return False
    members = [*value, *value.values()] if kind is dict else value
    return all(_is_small(member, depth=depth - 1) for member in members)
