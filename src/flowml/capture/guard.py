"""The fence round flowml's own lines: what fails inside it never reaches the user's code."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from types import TracebackType
from typing import Any, TypeAlias

from flowml import describe, faults
from flowml.errors import FlowmlError, OrchestrationError, TrackingError, pass_on
from flowml.locks import RLock

Log: TypeAlias = "logging.Logger | logging.LoggerAdapter[Any]"

_MOST = 10  # lines of one kind in a flow run: the run's tag has room for more
_OF_THE_CALL = re.compile(  # what differs from call to call: addresses and ids, how long it waited, how many wait
    r"\b0x[0-9a-fA-F]+\b|\b[0-9a-f-]{16,}\b|\d{4,}|\bwithin \d+ s\b|\b\d+ runs? waits?\b"
)
_CASE = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")  # differs among things of one kind: their names, their numbers


class Said:
    """What was said in the log of one flow run: each kind of thing once, with its reason."""

    def __init__(self) -> None:
        self._whys: set[str] = set()
        self._kinds: Counter[str] = Counter()
        self._lock = RLock()

    def say_once(self, doing: str, why: str, log: Log) -> None:
        """Say what could not be done, and why; not if the same was the reason of something else already."""
        reason = _OF_THE_CALL.sub("", why)
        kind = _CASE.sub("", f"{doing}: {reason}")
        with self._lock:
            if reason in self._whys or self._kinds[kind] > _MOST:
                return
            self._kinds[kind] += 1
            is_one_more = self._kinds[kind] > _MOST
            if not is_one_more:
                self._whys.add(reason)
        if is_one_more:
            log.warning("flowml: could not %s, and so on: more of this kind are not told here.", doing)
        else:
            log.warning("flowml: could not %s: %s Your code goes on.", doing, why)

    def remark(self, about: str, text: str, log: Log) -> None:
        """Say something to the user that is no failure; of what is about the same, the first."""
        with self._lock:
            is_news = about not in self._whys
            self._whys.add(about)
        if is_news:
            log.warning("flowml: %s", text)

    def forget(self) -> None:
        """Say again what was said before."""
        with self._lock:
            self._kinds.clear()
            self._whys.clear()


elsewhere = Said()
"""What was said where no call is known; each outermost flow starts afresh."""


@lru_cache(maxsize=64)
def said_under(caller: str) -> Said:  # noqa: ARG001 - it is the key
    """Return what was said in this process of calls that another process's caller sent here: one flow, one line."""
    return Said()


class Guard:
    """Keeps what goes wrong inside from the user, and says it once in the log; a context manager.

    Each call of a task passes some twenty: a class, as a generator would take twice the time.

    Args:
        doing: What flowml was doing, for the message: "open the run".
        log: Where the message goes.
        raising: Let a `FlowmlError` through, as ``on_error="raise"`` asks.
        said: What was said before.
        note: Notes what is lost on the run, too.
    """

    __slots__ = ("_doing", "_log", "_note", "_raising", "_said")

    def __init__(
        self, doing: str, log: Log, *, raising: bool, said: Said = elsewhere, note: Callable[[str], None] | None = None
    ) -> None:
        self._doing = doing
        self._log = log
        self._raising = raising
        self._said = said
        self._note = note

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> bool:
        """Say what went wrong.

        Raises:
            FlowmlError: Only if ``raising``.
            BaseException: An order to stop, see `pass_on`.
        """
        if error is None:
            return False
        if isinstance(error, FlowmlError):
            self._say_own(error)
            return not self._raising
        faults.note(error)
        if faults.strict:
            return False
        pass_on(error)
        why = describe.mask(faults.explain(error)) if faults.is_own(error) else f"{describe.error_text(error)}."
        if self._note:
            self._note(f"could not {self._doing}: {why}")
        self._said.say_once(self._doing, why, self._log)
        self._log.debug("flowml: could not %s", self._doing, exc_info=error)
        return True

    def _say_own(self, error: FlowmlError) -> None:
        for each in (error, *getattr(error, "others", ())):
            is_lost = not isinstance(each, OrchestrationError) and not (isinstance(each, TrackingError) and each.waits)
            if self._note and is_lost:
                self._note(str(each) if isinstance(each, TrackingError) else f"could not {self._doing}: {each}")
            if not self._raising:
                self._said.say_once(self._doing, str(each), self._log)
