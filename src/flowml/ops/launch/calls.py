"""Notes which flows a file calls while it is loaded: such a call is a run, and ``flowml run`` needs no second one."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any


class Calls:
    """The calls of flows that were made outside any flow or task, with what each returned."""

    def __init__(self) -> None:
        self._returned: dict[int, tuple[Any, Any]] = {}

    def note(self, flow: Any, returned: Any) -> None:
        """Note a call that came to its end; the last one of a flow counts."""
        self._returned[id(flow)] = flow, returned

    def state_of(self, flow: Any) -> str | None:
        """Return the name of the state that a flow's call ended in; None if it was not called, or not awaited."""
        if id(flow) not in self._returned:
            return None
        returned = self._returned[id(flow)][1]
        if inspect.iscoroutine(returned):
            return "Completed" if inspect.getcoroutinestate(returned) == inspect.CORO_CLOSED else None
        if inspect.isgenerator(returned):
            return "Completed" if inspect.getgeneratorstate(returned) == inspect.GEN_CLOSED else None
        if inspect.isasyncgen(returned):
            return "Completed" if returned.ag_frame is None else None
        return _named(returned)


@contextmanager
def noted() -> Iterator[Calls]:
    """Note the flows that are called while the body of the ``with`` loads a file."""
    import prefect

    flows: Any = prefect.Flow
    made, original = Calls(), flows.__call__

    @wraps(original)
    def call(flow: Any, *args: Any, **kwargs: Any) -> Any:
        is_outermost = _is_outside()
        returned = original(flow, *args, **kwargs)
        if is_outermost:
            made.note(flow, returned)
        return returned

    flows.__call__ = call  # for as long as the file is loaded, in this command alone
    try:
        yield made
    finally:
        flows.__call__ = original


def _is_outside() -> bool:
    from prefect.context import FlowRunContext, TaskRunContext

    return FlowRunContext.get() is None and TaskRunContext.get() is None


def _named(returned: Any) -> str:
    from prefect.client.schemas.objects import State

    if not isinstance(returned, State):
        return "Completed"
    return "Completed" if returned.is_completed() else str(returned.name)
