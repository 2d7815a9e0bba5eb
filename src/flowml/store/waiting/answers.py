"""Waits for an answer of the sender: for a limited time, and in all no longer than MLflow may delay a flow."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet  # a class of its own before Python 3.11
from typing import TypeVar

from flowml import settings
from flowml.errors import TrackingError
from flowml.secrets import mask
from flowml.store.waiting.delay import Delay

T = TypeVar("T")

_SLICE = 0.1  # seconds, after which it is looked at again what is waited for


def wait_for(
    result: Future[T],
    uri: str,
    until: Callable[[], float] | None = None,
    who_fails: Callable[[], str] = str,
    *,
    delay: Delay | None = None,
) -> T:
    """Wait for a result until a time that may move, or for the setting ``timeout``.

    Args:
        result: What is waited for.
        uri: The tracking URI of the store, for the message.
        until: Asked for the time, as `time.monotonic` counts it.
        who_fails: Names who fails or does not answer, if somebody does, so that nobody waits longer than that setting.
        delay: What the flow that waits may still be delayed; None for a wait that was asked for, or is nobody's.

    Raises:
        TrackingError: If MLflow fails or does not answer in time.
    """
    budget, began = settings.current().timeout, time.monotonic()
    until = until or (lambda: began + budget)
    failing = silent = 0.0
    while True:
        now = time.monotonic()
        longest = 0.0 if delay and who_fails() and not delay.left() else _SLICE
        try:
            return result.result(max(0.0, min(until() - now, longest)))
        except NotYet:
            waited = time.monotonic() - now
            silent += waited
            who = who_fails()
            if who:  # what was waited for before that was known counts, too
                failing += silent
                if delay:
                    delay.spend(silent)
                silent = 0.0
            is_late = who and (failing >= budget or (delay and not delay.left()))
            if is_late or time.monotonic() >= until():
                shown, seconds = mask(uri), time.monotonic() - began
                within = f"within {seconds:.0f} s" if seconds >= 1 else "in time"
                message = f"{who or 'MLflow'} at {shown} did not answer {within}."
                remedy = "What waits is sent when it does. Check the server."
                raise TrackingError(message, uri=shown, remedy=remedy, waits=True) from None
