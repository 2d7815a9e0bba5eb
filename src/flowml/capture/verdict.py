"""How an attempt ended: the orchestrator's verdict, and who waits for it."""

from __future__ import annotations

import traceback
from asyncio import CancelledError
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID
from weakref import WeakValueDictionary

from flowml import describe, records
from flowml.errors import pass_on


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the orchestrator says of an attempt that is over.

    Attributes:
        status: The status that the run ends with; None where it stays open, because it will go on.
        ended: When the attempt ended, in milliseconds since 1970.
        state: The orchestrator's own name for it, such as "TimedOut"; empty if it has not said.
        error: Why it failed, where the body did not raise; that it took too long, where it was stopped for that.
        retried: Whether another attempt follows.
        result_key: Where the result is kept, if it is, so that other runs can be given it from there.
        cached: Whether the result was found there, and the body not run.
    """

    status: records.Status | None
    ended: int
    state: str = ""
    error: BaseException | None = None
    retried: bool = False
    result_key: str | None = None
    cached: bool = False


class Attempt(Protocol):
    """One attempt of a run, as it is told what the orchestrator says of it.

    The verbs mean what they mean for a run: see `flowml.store.runs.Run`.

    Attributes:
        rests: Whether it is a generator's, whose consumer goes on.
    """

    rests: bool

    @property
    def number(self) -> int:
        """Which attempt it is, from 1."""

    @property
    def is_outermost(self) -> bool:
        """Tell whether nothing tracked called it."""

    def conclude(self, verdict: Verdict) -> None:
        """Close its run as the orchestrator says."""

    def tell(self, tags: Mapping[str, str]) -> None:
        """Tag its run."""

    def settle(self, *, raising: bool = True) -> None:
        """Wait until all is in MLflow."""

    def announce(self) -> records.Caller:
        """Tell which run it is, which is waited for."""


class RunWatch:
    """One run while one of the orchestrator's engines has it, which will give the verdict on each attempt.

    Attributes:
        session: The latest attempt, once its body was called, or it ended without that.
        retried: The attempt after which another one is to follow.
        began: When the latest attempt began, in milliseconds since 1970, whether or not its body was called.
        completes: Whether the engine completes the latest attempt once the time of its end is taken.
        is_over: Whether the engine is done with the run.
        settled: The attempt of which all is in MLflow, where that was waited for when the engine was done.
    """

    __slots__ = ("__weakref__", "began", "completes", "is_over", "retried", "session", "settled")

    def __init__(self) -> None:
        self.session: Attempt | None = None
        self.retried: Attempt | None = None
        self.began: int | None = None
        self.completes = False
        self.is_over = False
        self.settled: Attempt | None = None


run_watches: WeakValueDictionary[UUID, RunWatch] = WeakValueDictionary()
"""The runs that an engine of this process has, by the orchestrator's id; the engines keep them alive."""


def records_of(verdict: Verdict, error: BaseException | None, attempt: int) -> list[records.Record]:
    """Return what is logged of an end: the state, and why it failed.

    Args:
        verdict: The orchestrator's verdict.
        error: What the body raised, which says more than the verdict's own.
        attempt: Its number: the error of a run that stays open is one of several.
    """
    found: list[records.Record] = [records.Tag(key, value) for key, value in _tags_of(verdict).items()]
    if error is None:
        error = None if verdict.retried else verdict.error
    elif isinstance(error, CancelledError) and isinstance(verdict.error, TimeoutError):
        error = verdict.error.with_traceback(error.__traceback__)  # how the orchestrator stopped the body
    if error is not None and verdict.status != "FINISHED":
        found += _records_of_error(error, None if verdict.status else f"attempt_{attempt}")
    if verdict.cached and verdict.result_key:
        found.append(records.Reused(verdict.result_key))
    return found


def _tags_of(verdict: Verdict) -> dict[str, str]:
    tags = {"prefect.state": verdict.state} if verdict.state else {}
    if verdict.retried and verdict.status:
        tags["flowml.superseded"] = "true"
    if verdict.cached:
        tags["flowml.cached"] = "true"
    elif verdict.result_key:
        tags["flowml.result_key"] = verdict.result_key
    return tags


def _records_of_error(error: BaseException, attempt: str | None) -> list[records.Record]:
    """Describe an error, or that of one attempt of several; its type comes through also where its own text fails."""
    kind = type(error)
    try:
        text = str(error)
    except BaseException as another:  # noqa: BLE001 - a __str__ of the user's
        pass_on(another)
        text = f"<its text failed with {type(another).__name__}>"
    trace = describe.mask("".join(traceback.format_exception(kind, error, error.__traceback__)))
    tag, file = (
        (f"flowml.{attempt}.error", f"{attempt}/traceback.txt") if attempt else ("flowml.error", "traceback.txt")
    )
    return [
        records.Tag(f"{tag}_type", kind.__qualname__),
        records.Tag(tag, describe.mask(text)[:1000]),
        records.Text(file, trace),
        *([records.Hidden(file, masked)] if (masked := trace.count(describe.MASK)) else []),
    ]
