"""Work in the background: one thread does it, in order, and whoever waits for it does so for a limited time."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from threading import Thread

from flowml import faults
from flowml.locks import RLock

_logger = logging.getLogger(__name__)

_QUIET = 1.0  # seconds without a job that is urgent, after which one that is not is done, or the thread ends


class Publisher:
    """Does jobs one after the other; each must keep its failure to itself.

    Args:
        idle: Called, in the same thread, when there was nothing to do for a while.
    """

    def __init__(self, idle: Callable[[], None]) -> None:
        self._idle = idle
        self.begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.begin)

    def begin(self) -> None:
        """Begin with nothing to do: also in a forked child, whose parent does what is its own."""
        self._jobs: deque[Callable[[], None]] = deque()
        self._later: deque[Callable[[], None]] = deque()
        self._left = 0
        self._waited_for = 0
        # `with` takes the lock, not the condition: Prefect's `timeout_seconds` raises anywhere in a task's Python code,
        # also in `Condition.__enter__` when it has taken the lock, which nobody would release.
        self._lock = RLock()
        self._changed = threading.Condition(self._lock)
        self._is_working = False

    def add(self, job: Callable[[], None], *, later: bool = False) -> None:
        """Have a job done; does not wait.

        Args:
            job: What is to be done.
            later: Whether it must not disturb the tasks: one such job is done a second, all in `publishing_now`.
        """
        with self._lock:
            self._left += 1
            (self._later if later else self._jobs).append(job)
            if not self._is_working:
                try:
                    threading.Thread(target=self._work, name="flowml-publisher", daemon=True).start()
                except RuntimeError:  # the process ends, and there are no new threads
                    self._jobs.clear()
                    self._later.clear()
                    self._left = 0
                self._is_working = self._left > 0
            self._changed.notify_all()

    @contextmanager
    def publishing_now(self) -> Iterator[None]:
        """Have done at once what was put off, after what was not, while somebody waits anyway."""
        with self._lock:
            self._waited_for += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._lock:
                self._waited_for -= 1

    def wait(self, seconds: float) -> int:
        """Wait until all is done.

        Returns:
            How much is left, after so many seconds.
        """
        with self.publishing_now(), self._lock:
            self._changed.wait_for(lambda: not self._left, seconds)
            return self._left

    def _work(self) -> None:
        while True:
            job = self._next()
            if job is None:
                return
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - the thread goes on with the next
                faults.tell("do something in the background", error, _logger, level=logging.WARNING)
            finally:
                with self._lock:
                    self._left -= 1
                    self._changed.notify_all()

    def _next(self) -> Callable[[], None] | None:
        """Wait for a job; None if there is none and the thread is to end."""
        while True:
            with self._lock:
                self._changed.wait_for(lambda: self._jobs or (self._later and self._waited_for), _QUIET)
                if self._jobs or self._later:
                    return (self._jobs or self._later).popleft()
            self._idle()
            with self._lock:
                if not self._left:
                    self._is_working = False
                    return None


PATIENCE = 5.0
"""Seconds that the end of a call waits."""


class BackgroundJob:
    """One thing that is being done in a thread of its own.

    Args:
        job: Does it, with the caller's context variables.
    """

    def __init__(self, job: Callable[[], None]) -> None:
        self._thread = Thread(target=copy_context().run, args=[job], name="flowml-asking", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait for it, for so long."""
        self._thread.join(seconds)
