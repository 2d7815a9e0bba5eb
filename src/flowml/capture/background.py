"""Does something in a thread of its own while a call's body works, such as asking a server; waited for at its end."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from threading import Thread

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
