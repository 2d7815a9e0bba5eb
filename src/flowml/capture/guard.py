"""The fence round flowml's own lines: what fails inside it never reaches the user's code."""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from flowml.errors import FlowmlError

Log: TypeAlias = "logging.Logger | logging.LoggerAdapter[Any]"

strict = False
"""Raise flowml's own bugs instead of logging them; the tests turn it on."""

_said: MutableMapping[str, None] = {}


@contextmanager
def guarded(doing: str, log: Log, *, raising: bool) -> Iterator[None]:
    """Keep what goes wrong inside from the user, and say it once in the log.

    Args:
        doing: What flowml was doing, for the message: "open the run".
        log: Where the message goes.
        raising: Let a `FlowmlError` through, as ``on_error="raise"`` asks.

    Raises:
        FlowmlError: Only if ``raising``.
    """
    try:
        yield
    except FlowmlError as error:
        if raising:
            raise
        _say_once(log, f"flowml: could not {doing}: {error} Your code goes on; this is not tracked.")
    except Exception as error:
        if strict:
            raise
        _say_once(log, f"flowml: could not {doing}: {type(error).__name__}: {error}. Your code goes on.")
        log.debug("flowml: could not %s", doing, exc_info=True)


def forget() -> None:
    """Say again what was said before; each outermost flow starts afresh."""
    _said.clear()


def _say_once(log: Log, message: str) -> None:
    if message not in _said:
        _said[message] = None
        log.warning(message)
