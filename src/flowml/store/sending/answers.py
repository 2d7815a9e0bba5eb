"""Waits for an answer of the sender, for a limited time."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet  # a class of its own before Python 3.11
from typing import TypeVar

from flowml import settings
from flowml.errors import TrackingError
from flowml.secrets import mask

T = TypeVar("T")


def wait_for(
    result: Future[T], uri: str, until: Callable[[], float] | None = None, has_failed: Callable[[], bool] = bool
) -> T:
    """Wait for a result until a time that may move, or for the setting ``timeout``.

    Args:
        result: What is waited for.
        uri: The tracking URI of the store, for the message.
        until: Asked for the time, as `time.monotonic` counts it.
        has_failed: Tells whether MLflow fails, so that nobody waits any longer than that setting.

    Raises:
        TrackingError: If MLflow fails or does not answer in time.
    """
    budget, began = settings.current().timeout, time.monotonic()
    until = until or (lambda: began + budget)
    while True:
        try:
            return result.result(max(0.0, min(until() - time.monotonic(), budget)))
        except NotYet:
            if has_failed() or time.monotonic() >= until():
                shown = mask(uri)
                message = f"MLflow at {shown} did not answer within {budget:g} s."
                remedy = "What waits is sent when it does. Check the server, or raise FLOWML_TIMEOUT."
                raise TrackingError(message, uri=shown, remedy=remedy, waits=True) from None
