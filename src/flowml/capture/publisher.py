"""Work in the background: one thread does it, in order, and whoever waits for it does so for a limited time."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable

_IDLE = 2.0  # seconds after which the thread ends that has nothing to do


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
        self._left = 0
        self._changed = threading.Condition()
        self._is_working = False

    def add(self, job: Callable[[], None]) -> None:
        """Have a job done; does not wait."""
        with self._changed:
            self._left += 1
            self._jobs.put(job)
            if not self._is_working:
                try:
                    threading.Thread(target=self._work, name="flowml-publisher", daemon=True).start()
                except RuntimeError:  # the process ends, and there are no new threads
                    self._left = 0
                    return
                self._is_working = True

    def wait(self, seconds: float) -> int:
        """Wait until all is done.

        Returns:
            How much is left, after so many seconds.
        """
        until = time.monotonic() + seconds
        with self._changed:
            while self._left and (rest := until - time.monotonic()) > 0:
                self._changed.wait(rest)
            return self._left

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE)
            except queue.Empty:
                self._idle()
                with self._changed:
                    if self._left:
                        continue
                    self._is_working = False
                    return
            try:
                job()
            finally:
                with self._changed:
                    self._left -= 1
                    self._changed.notify_all()
