"""Four ways to run a function - sync, async, generator, async generator - round one session."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from flowml.capture import event_loop
from flowml.capture.call import Call
from flowml.capture.session import Session


def run(call: Call, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run ``fn`` as a tracked call; returns just what calling it would."""
    if inspect.isasyncgenfunction(fn):
        return _async_generator(call, fn(*args, **kwargs))
    if inspect.isgeneratorfunction(fn):
        return _generator(call, fn(*args, **kwargs))
    if inspect.iscoroutinefunction(fn):
        return _coroutine(call, fn, args, kwargs)
    return _function(call, fn, args, kwargs)


def _function(call: Call, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    session = Session.begin(call)
    try:
        with session.active():
            result = fn(*args, **kwargs)
    except BaseException as error:
        if session.failed(error):
            session.settle(raising=False)
        raise
    if not session.defer(result):
        session.returned(result)
        if session.waits_here:
            session.settle()
    return result


async def _coroutine(call: Call, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    session = await event_loop.begun(call)
    try:
        with session.active():
            result = await fn(*args, **kwargs)
    except BaseException as error:
        await event_loop.failed(session, error)
        raise
    if not session.defer(result):
        await event_loop.returned(session, result)
    return result


@contextmanager
def _resting(session: Session) -> Iterator[None]:
    """Note that a generator's consumer goes on, though Prefect's context of the generator is still set there."""
    session.rests = True
    try:
        yield
    finally:
        session.rests = False


def _generator(call: Call, body: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    # The body runs in its consumer's context: the session is made active for each resume, never in between.
    session = Session.begin(call)
    resume: Callable[[Any], Any] = body.send
    sent: Any = None
    try:
        while True:
            with session.active():
                value = resume(sent)
            session.yielded(value)
            try:
                with _resting(session):
                    sent = yield value
                resume = body.send
            except GeneratorExit:
                with session.active():
                    body.close()
                raise
            except BaseException as thrown:  # noqa: BLE001 - what the consumer throws belongs to the body
                resume, sent = body.throw, thrown
    except StopIteration as stop:
        session.returned(stop.value)
        if session.waits_here:
            session.settle()
        return stop.value
    except GeneratorExit:
        session.returned(None)
        raise
    except BaseException as error:
        if session.failed(error):
            session.settle(raising=False)
        raise


async def _async_generator(call: Call, body: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    session = await event_loop.begun(call)
    resume: Callable[[Any], Any] = body.asend
    sent: Any = None
    try:
        while True:
            with session.active():
                value = await resume(sent)
            await event_loop.yielded(session, value)
            try:
                with _resting(session):
                    sent = yield value
                resume = body.asend
            except GeneratorExit:
                with session.active():
                    await body.aclose()
                raise
            except BaseException as thrown:  # noqa: BLE001 - what the consumer throws belongs to the body
                resume, sent = body.athrow, thrown
    except StopAsyncIteration:
        await event_loop.returned(session, None)
    except GeneratorExit:
        session.returned(None)
        raise
    except BaseException as error:
        await event_loop.failed(session, error)
        raise
