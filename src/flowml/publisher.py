"""Work in the background: one thread does it, in order, and whoever waits for it does so for a limited time."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._later: deque[Callable[[], None]] = deque()
        self._left = 0
        self._hurried = 0
        self._changed = threading.Condition()
        self._is_working = False

    def add(self, job: Callable[[], None], *, later: bool = False) -> None:
        """Have a job done; does not wait.

        Args:
            job: What is to be done.
            later: Whether it is not to be in the way of the user's tasks: one is done a second, all when `hurrying`.
        """
        with self._changed:
            self._left += 1
            (self._later.append if later and not self._hurried else self._jobs.put)(job)
            if not self._is_working:
                try:
                    threading.Thread(target=self._work, name="flowml-publisher", daemon=True).start()
                except RuntimeError:  # the process ends, and there are no new threads
                    self.begin()
                    return
                self._is_working = True

    @contextmanager
    def hurrying(self) -> Iterator[None]:
        """Have all done at once while something is waited for: no task of the user's is in the way of it."""
        with self._changed:
            self._hurried += 1
            while self._later:
                self._jobs.put(self._later.popleft())
        try:
            yield
        finally:
            with self._changed:
                self._hurried -= 1

    def wait(self, seconds: float) -> int:
        """Wait until all is done.

        Returns:
            How much is left, after so many seconds.
        """
        until = time.monotonic() + seconds
        with self.hurrying(), self._changed:
            while self._left and (rest := until - time.monotonic()) > 0:
                self._changed.wait(rest)
            return self._left

    def _work(self) -> None:
        while True:
            job = self._next()
            if job is None:
                return
            try:
                job()
            finally:
                with self._changed:
                    self._left -= 1
                    self._changed.notify_all()

    def _next(self) -> Callable[[], None] | None:
        """Wait for a job; None if there is none and the thread is to end."""
        while True:
            try:
                return self._jobs.get(timeout=_QUIET)
            except queue.Empty:
                with self._changed:
                    if self._later:
                        return self._later.popleft()
                self._idle()
                with self._changed:
                    if not self._left:
                        self._is_working = False
                        return None
