"""The fence round flowml's own lines: what fails inside it never reaches the user's code."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from flowml import describe
from flowml.errors import FlowmlError, pass_on

Log: TypeAlias = "logging.Logger | logging.LoggerAdapter[Any]"

strict = False
"""Raise flowml's own bugs instead of logging them; the tests turn it on."""

_said: dict[str, object] = {}


@contextmanager
def guarded(doing: str, log: Log, *, raising: bool) -> Iterator[None]:
    """Keep what goes wrong inside from the user, and say it once in the log.

    Args:
        doing: What flowml was doing, for the message: "open the run".
        log: Where the message goes.
        raising: Let a `FlowmlError` through, as ``on_error="raise"`` asks.

    Raises:
        FlowmlError: Only if ``raising``.
        BaseException: An order to stop, see `pass_on`.
    """
    try:
        yield
    except FlowmlError as error:
        if raising:
            raise
        _say_once(doing, str(error), log)
    except BaseException as error:
        if strict:
            raise
        pass_on(error)
        _say_once(doing, f"{describe.error_text(error)}.", log)
        log.debug("flowml: could not %s", doing, exc_info=True)


def remark(about: str, text: str, log: Log) -> None:
    """Say something to the user that is no failure; of what is about the same, the first in a flow run."""
    if _is_news(about):
        log.warning("flowml: %s", text)


def forget() -> None:
    """Say again what was said before; each outermost flow starts afresh."""
    _said.clear()


def _say_once(doing: str, why: str, log: Log) -> None:
    """Say each thing once in a flow run: what could not be done, and why."""
    if _is_news(doing, why):
        log.warning("flowml: could not %s: %s Your code goes on.", doing, why)


def _is_news(*said: str) -> bool:
    """Whether none of this was said before; tasks may ask at the same time, and a fork may come between."""
    me = object()
    taken = [_said.setdefault(one, me) is me for one in said]
    return all(taken)
