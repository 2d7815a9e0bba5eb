"""Has the run of a call known before Prefect takes the call out of this process: to a worker, or to a deployment.

A run is opened late, so the label that leads to it may not be written yet (see `labels`). Prefect sends its contexts
along with tasks; a deployment's flow run asks Prefect's API for the label of the flow that started it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from prefect.context import TaskRunContext

from flowml.capture.guard import Guard
from flowml.capture.links import labels
from flowml.capture.session import current, is_off
from flowml.patches import wrapped

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, TaskRun

_logger = logging.getLogger("prefect.flowml")


def _serialize(wrapped: Any, context: Any, args: Any, kwargs: Any) -> Any:
    """Note in a context that Prefect sends to another process who is calling there, which is known then."""
    run = context.task_run if isinstance(context, TaskRunContext) else context.flow_run
    if run is None:
        return wrapped(*args, **kwargs)
    _safely(lambda: labels.complete(run))
    sent = wrapped(*args, **kwargs)
    _safely(lambda: _address(sent, run))
    return sent


def _address(sent: Any, run: FlowRun | TaskRun) -> None:
    session = current()
    caller = session.announce() if session else labels.calling(run)
    labels.address(sent["task_run" if "task_run" in sent else "flow_run"], caller)


def _start_elsewhere(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    """Have Prefect's API know the run of a flow that starts another one by its deployment."""
    _safely(_kept)
    return wrapped(*args, **kwargs)


async def _start_elsewhere_async(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    await asyncio.to_thread(_safely, _kept)
    return await wrapped(*args, **kwargs)


def _kept() -> None:
    if not is_off():
        session = current()
        labels.keep_here(session.announce() if session and session.span.ids else None)


def _safely(job: Callable[[], None]) -> None:
    with Guard("tell other processes of the run", _logger, raising=False):
        job()


_WRAPPERS: dict[str, dict[str, Any]] = {
    "prefect.context": {"EngineContext.serialize": _serialize, "TaskRunContext.serialize": _serialize},
    "prefect.client.orchestration": {
        "SyncPrefectClient.create_flow_run_from_deployment": _start_elsewhere,
        "PrefectClient.create_flow_run_from_deployment": _start_elsewhere_async,
    },
}


@cache
def listen() -> None:
    """Wrap Prefect's methods: now, or when Prefect loads them."""
    wrapped.wrap(
        _WRAPPERS, use="tells other processes of the run", without="runs in other processes may hang under no run"
    )
