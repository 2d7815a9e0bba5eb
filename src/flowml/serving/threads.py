"""Threads in which versions predict, each in its own: one that hangs keeps no other from answering, nor an end."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from queue import SimpleQueue
from typing import ParamSpec, TypeVar
from weakref import WeakSet

P = ParamSpec("P")
R = TypeVar("R")

_MOST = min(32, (os.cpu_count() or 1) + 4)  # as asyncio has them

_loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
_current: ContextVar[Threads | None] = ContextVar("flowml_serving_threads", default=None)


class Threads:
    """Some threads that the end of the process does not wait for.

    Args:
        name: What they are called.
        most: How many there may be.
    """

    def __init__(self, name: str, most: int = _MOST) -> None:
        self._name, self._most = name, most
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0
        self._lock = threading.Lock()

    def submit(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call a function in one of the threads."""
        future: Future[R] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = function(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - as concurrent.futures does
                future.set_exception(error)
            else:
                future.set_result(result)

        self._calls.put(call)
        if not self._idle.acquire(blocking=False):
            with self._lock:
                if self._count < self._most:
                    self._count += 1
                    threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    def close(self) -> None:
        """Let the threads end when they have done what they are at."""
        with self._lock:
            for _ in range(self._count):
                self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # and with it the request
            self._idle.release()


@contextmanager
def predicting_in(threads: Threads) -> Iterator[None]:
    """Let what runs here, and is to be done in a thread, be done in one of these."""
    token = _current.set(threads)
    try:
        yield
    finally:
        _current.reset(token)


class _Chosen(ThreadPoolExecutor):
    """Hands each call to the threads of the version that answers; an event loop takes no executor of another kind."""

    def __init__(self) -> None:
        super().__init__(1)
        self._other = Threads("flowml-serving-other")

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        return (_current.get() or self._other).submit(fn, *args, **kwargs)


def use_here() -> None:
    """Let the event loop that runs here call functions in the threads of the version that answers."""
    loop = asyncio.get_running_loop()
    if loop not in _loops:
        _loops.add(loop)
        loop.set_default_executor(_Chosen())
