"""Where a call comes from, told on its run: what is known at once, and what others answer while its body works."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from flowml import provenance, records
from flowml.background import BackgroundJob
from flowml.capture.call import Call


class Guard(Protocol):
    """Keeps what goes wrong inside from the user's code."""

    def __call__(self, doing: str, *, raising: bool = True) -> AbstractContextManager[None]:
        """Say in the log what was tried, where it goes wrong."""


def explain(
    call: Call,
    put: Callable[[list[records.Record]], None],
    put_later: Callable[[Iterable[records.Record]], None],
    guard: Guard,
    *,
    is_root: bool,
) -> list[BackgroundJob]:
    """Log where a call comes from.

    Args:
        call: The call.
        put: Logs what is known at once.
        put_later: Logs what comes later, in another thread.
        guard: Keeps what goes wrong from the call.
        is_root: Whether it is a flow that is to be run again as it was: git is asked beside the body.

    Returns:
        What is being asked.
    """
    asking = []
    with guard("tell where the call comes from"):
        if found := call.orchestrator.facts():
            put(found)
        if question := call.orchestrator.question():
            asking.append(_later("ask where the call comes from", question, put_later, guard))
    if is_root:
        with guard("tell how to run it again"):
            find = provenance.origin_of(
                call.identity.function, given=call.arguments, logged=call.logged_arguments(), annotations=call.hints
            )
            asking.append(_later("tell how to run it again", find, put_later, guard))
    return asking


def _later(
    doing: str,
    ask: Callable[[], Iterable[records.Record]],
    put: Callable[[Iterable[records.Record]], None],
    guard: Guard,
) -> BackgroundJob:
    def job() -> None:
        with guard(doing, raising=False):
            put(ask())

    return BackgroundJob(job)
