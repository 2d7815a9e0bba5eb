"""Which attempt code is at: what runs again, as it is tried again or was suspended, is known again by its calls."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from flowml.capture import contexts
from flowml.locks import RLock

if TYPE_CHECKING:
    from uuid import UUID

_MOST = 1000  # attempts whose calls are counted
_counts: OrderedDict[tuple[UUID, int], Counter[str]] = OrderedDict()  # by run and attempt: calls of each sort
_lock = RLock()


def nth(run_id: UUID, attempt: int, sort: str) -> int:
    """Count a call within an attempt at a run.

    Args:
        run_id: The run whose code calls.
        attempt: The attempt that it is at.
        sort: Which calls are counted together.

    Returns:
        1 for the first call of this sort.
    """
    with _lock:
        counted = _counts.setdefault((run_id, attempt), Counter())
        counted[sort] += 1
        while len(_counts) > _MOST:
            _counts.popitem(last=False)
        return counted[sort]


def nth_of_caller(task_run_id: str | None, sort: str) -> int:
    """Count a call of one of flowml's own tasks within the attempt that calls it.

    Args:
        task_run_id: The task's own run; None if it has none.
        sort: Which calls are counted together.

    Returns:
        1 for the first call of this sort, and outside of any run.
    """
    caller = next((run for run in contexts.runs_around() if str(run.id) != task_run_id), None)
    return nth(caller.id, caller.run_count, sort) if caller else 1


def here() -> dict[str, int]:
    """Return the runs that go on here, the innermost first, each with the attempt that it is at."""
    return {str(run.id): run.run_count for run in contexts.runs_around()}
