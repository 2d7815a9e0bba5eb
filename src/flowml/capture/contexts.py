"""Prefect's run contexts: which of them a call is really made in.

Prefect sets a context while a run's body works, and takes it away afterwards. A generator's body works in between: its
context stays where its consumer goes on, and of two that are consumed in step the first to end takes away the other's,
and the second one sets the first's again, for ever. So a context that is there is no proof that its run is calling.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import Token
from typing import TYPE_CHECKING, TypeVar

from prefect.context import ContextModel, FlowRunContext, TaskRunContext

from flowml.capture.verdict import run_watches
from flowml.patches.prefect import OUTER_CONTEXT

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, TaskRun

C = TypeVar("C", bound=ContextModel)


def task_here() -> TaskRunContext | None:
    """Return the context of the task that is running here, if any."""
    return next((each for each in outwards(TaskRunContext.get()) if not is_left(each.task_run)), None)


def flow_here() -> FlowRunContext | None:
    """Return the context of the flow that is running here, if any."""
    return next((each for each in outwards(FlowRunContext.get()) if not is_left(each.flow_run)), None)


def runs_around() -> Iterator[TaskRun | FlowRun]:
    """Give the runs whose contexts are set here, those of tasks first, the innermost first."""
    for task in outwards(TaskRunContext.get()):
        yield task.task_run
    yield from flow_runs_around()


def flow_runs_around() -> Iterator[FlowRun]:
    """Give the flow runs whose contexts are set here, the innermost first."""
    for flow in outwards(FlowRunContext.get()):
        if flow.flow_run is not None:
            yield flow.flow_run


def is_any_left_open() -> bool:
    """Tell whether a run goes on whose context is set here: it is running, or a generator that is not at its end."""
    return any(not _is_over(run) for run in runs_around())


def is_left(run: TaskRun | FlowRun | None) -> bool:
    """Tell whether a run has left its context behind: it is over, or a generator that waits for its consumer."""
    if run is None:
        return False
    watch = run_watches.get(run.id)
    return _is_over(run) or bool(watch and watch.session and watch.session.rests)


def _is_over(run: TaskRun | FlowRun) -> bool:
    """Tell whether Prefect's engine is done with a run; it is not yet while it calls the run's hooks."""
    watch = run_watches.get(run.id)
    return watch.is_over if watch else run.state is not None and run.state.is_final()


def outwards(context: C | None) -> Iterator[C]:
    """Go from a context to those that it was entered in."""
    while context is not None:
        yield context
        token = OUTER_CONTEXT.of(context)  # Prefect has no public way outwards
        outer = token.old_value if token is not None else None
        context = None if outer is Token.MISSING else outer
