"""Plain Prefect tasks and flows that are called in a flow with ``Track(foreign_tasks=True)``: tracked as they are.

Prefect's engines call a body by `call_with_parameters`, whatever its kind. There the function is wrapped for this one
call: the task stays Prefect's own object, with its function, its options and its cache keys. The bodies of generators
are called otherwise: such a call has its run, and no more, when Prefect says that it is over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, wraps
from typing import TYPE_CHECKING, Any

from prefect.context import FlowRunContext, TaskRunContext

from flowml.capture import wrap
from flowml.capture.engine.attempt import call_of, hints_of
from flowml.capture.guard import Guard
from flowml.capture.links import labels
from flowml.capture.session import current, is_off
from flowml.options import Track
from flowml.patches import wrapped

if TYPE_CHECKING:
    from uuid import UUID

_logger = logging.getLogger("prefect.flowml")
_TRACK = Track()


def track_of(what: Any, run_id: UUID) -> Track | None:
    """Return how a task or flow is tracked: as its decorator says; one of Prefect's own as its caller wants it.

    Args:
        what: The task or flow.
        run_id: The id of its run.
    """
    if hasattr(what, "track"):
        track: Track | None = what.track
        return track
    return _TRACK if _is_wanted(run_id) else None


def _is_wanted(run_id: UUID) -> bool:
    """Tell whether the call that is made here wants plain tasks to be tracked; asks nobody."""
    session = current()
    if session is not None:
        return session.span.foreign_tasks and not is_off()
    caller = labels.caller_here(run_id)
    return caller is not None and caller.foreign_tasks


def _called(wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
    """Call a function for an engine; as a tracked call, if it is a plain task's or flow's and its caller wants that."""
    from flowml.capture.engine.tracked import Tracked

    if args and not isinstance(args[0], Tracked):  # that is flowml's own
        tracked = None
        with Guard("see whose call it is", _logger, raising=False):
            tracked = _tracked(args[0])
        args = (tracked or args[0], *args[1:])
    return wrapped(*args, **kwargs)


def _tracked(fn: Callable[..., Any]) -> Callable[..., Any] | None:
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    if task is not None and task.task.fn is fn:
        what, run_id = task.task, task.task_run.id
    elif flow is not None and flow.flow is not None and flow.flow_run is not None and flow.flow.fn is fn:
        what, run_id = flow.flow, flow.flow_run.id  # type: ignore[assignment] # either has what is asked for
    else:
        return None
    if hasattr(what, "track") or not _is_wanted(run_id):
        return None  # the first is flowml's
    call = call_of(fn, _TRACK, hints_of(fn))
    if call is None:
        return None
    known = call

    @wraps(fn)
    def tracked(*args: Any, **kwargs: Any) -> Any:
        return wrap.run(known, fn, args, kwargs)

    return tracked


_WRAPPERS: dict[str, dict[str, Any]] = {
    "prefect.task_engine": {"call_with_parameters": _called},
    "prefect.flow_engine": {"call_with_parameters": _called},
}


@cache
def listen() -> None:
    """Wrap the function by which Prefect's engines call bodies: now, or when Prefect loads its engines."""
    wrapped.wrap(
        _WRAPPERS,
        use="tracks plain Prefect tasks, where Track(foreign_tasks=True) asks for it",
        without="plain Prefect tasks have runs without inputs, outputs and what they log",
    )
