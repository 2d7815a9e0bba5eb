"""Who is calling: what Prefect's engine knows about the attempt that it is running now, or that it ends unrun."""

from __future__ import annotations

import inspect
import logging
import socket
import sys
import typing
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, FlowRunResult, TaskRun, TaskRunResult
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, get_current_settings

from flowml import describe, formats, records
from flowml.capture import contexts
from flowml.capture.call import Call
from flowml.capture.engine.orchestrator import OfFlow, OfTask
from flowml.capture.guard import Log
from flowml.capture.links import labels, urls
from flowml.capture.session import current
from flowml.errors import pass_on
from flowml.events.emitting import note_settings
from flowml.options import Track
from flowml.secrets.uris import without_credentials
from flowml.store.flow_end.child_runs import INPUTS

if TYPE_CHECKING:
    import prefect

_MOST_INPUTS = 200  # that a tag has room for


def call_of(fn: Callable[..., Any], track: Track | None, hints: Mapping[str, Any]) -> Call | None:
    """Describe the attempt that Prefect's engine has just begun of this very function.

    Args:
        fn: What Prefect holds as the flow's or task's ``fn``.
        track: How it is tracked.
        hints: Its annotations.

    Returns:
        The call; None if this is no such attempt: ``fn`` was called by hand, or its session is open already.
    """
    note_settings()
    task = TaskRunContext.get()
    if task is not None and task.task.fn is fn:
        began = Beginning(task.task_run.run_count, _started(task.task_run), task.parameters, track, hints)
        return None if labels.is_tracked(task.task_run) else call_of_task(task.task, task.task_run, began)
    flow = FlowRunContext.get()
    if flow is not None and flow.flow is not None and flow.flow.fn is fn and flow.flow_run is not None:
        began = Beginning(flow.flow_run.run_count, _started(flow.flow_run), flow.parameters or {}, track, hints)
        return None if labels.is_tracked(flow.flow_run) else call_of_flow(flow.flow, flow.flow_run, began)
    return None


class Beginning(NamedTuple):
    """How an attempt begins.

    Attributes:
        attempt: Its number.
        started: When, in milliseconds since 1970.
        arguments: With what; nothing for one whose body is not called.
        track: How it is tracked.
        hints: The annotations of the arguments.
    """

    attempt: int
    started: int
    arguments: Mapping[str, Any]
    track: Track | None
    hints: Mapping[str, Any]


def call_of_task(task: prefect.Task[..., Any], run: TaskRun, began: Beginning) -> Call:
    """Describe an attempt at a task run."""
    identity = records.Identity(
        name=describe.mask(run.name),
        kind="task",
        owner=task.name,
        attempt=began.attempt,
        started=began.started,
        source=_file_of(task.fn),
        tags=_task_tags(task, run) | _inputs(run),
        tag=("prefect.task_run_id", str(run.id)),
        about=task.description or "",
    )
    log = _log()
    return Call(identity, began.arguments, began.hints, began.track, log, OfTask(run, began.attempt, log))


def call_of_flow(flow: prefect.Flow[..., Any], run: FlowRun, began: Beginning) -> Call:
    """Describe an attempt at a flow run."""
    log = _log()
    prefects = OfFlow(run, began.attempt, log, name=flow.name, started=began.started)
    identity = records.Identity(
        name=describe.mask(run.name),
        kind="flow",
        owner=flow.name,
        attempt=began.attempt,
        started=began.started,
        source=_file_of(flow.fn),
        tags=_flow_tags(flow, run),
        tag=("prefect.flow_run_id", str(run.id)),
        retries=flow.retries or 0,
        function=_function_of(flow),
        since=_first_started(run, began.started) if prefects.goes_on else None,
    )
    return Call(identity, began.arguments, began.hints, began.track, log, prefects)


def tags_here() -> dict[str, str]:
    """Return the tags that lead from a run opened here back to Prefect; none outside its flows and tasks."""
    task, flow = contexts.task_here(), contexts.flow_here()
    if task is not None:
        return _task_tags(task.task, task.task_run)
    return _flow_tags(flow.flow, flow.flow_run) if flow and flow.flow and flow.flow_run else {}


def _task_tags(task: prefect.Task[..., Any], run: TaskRun) -> dict[str, str]:
    of = FlowRunContext.get()
    if of and of.flow and of.flow_run and run.flow_run_id:
        tags = _tags_of_caller(of.flow_run) or _flow_tags(of.flow, of.flow_run)
    else:
        tags = {"prefect.api": api()}
    tags |= {"prefect.task_run_id": str(run.id), "prefect.task_name": task.name}
    return tags | _page("prefect.task_run_url", "task-run", run.id)


def _tags_of_caller(run: FlowRun) -> dict[str, str]:
    """Return a flow run's tags if it is what calls here: it has made them once, for all of its tasks."""
    session, tag = current(), ("prefect.flow_run_id", str(run.id))
    return dict(session.call.identity.tags) if session and session.call.identity.tag == tag else {}


def _flow_tags(flow: prefect.Flow[..., Any], run: FlowRun) -> dict[str, str]:
    tags = {"prefect.flow_run_id": str(run.id), "prefect.flow_name": flow.name}
    tags |= {"prefect.flow_run_name": describe.mask(run.name), "prefect.api": api()}
    tags |= _page("prefect.flow_run_url", "flow-run", run.id)
    # prefect.runtime.deployment.id asks the API each time. A subflow's run has none: it is that of the flow around it.
    around = (each for each in contexts.flow_runs_around() if each.deployment_id and not contexts.is_left(each))
    deployment_id = run.deployment_id or next((each.deployment_id for each in around), None)
    return tags | ({"prefect.deployment_id": str(deployment_id)} if deployment_id else {})


def api() -> str:
    """Name the Prefect whose ids are meant: its API's address or, for a temporary server, this host's database."""
    if url := get_current_settings().api.url:
        return without_credentials(url).rstrip("/")
    database = without_credentials(str(PREFECT_API_DATABASE_CONNECTION_URL.value()))
    return f"temporary on {_host()}: {database}"


@cache
def _host() -> str:
    return socket.gethostname()


def _page(tag: str, kind: urls.Kind, its_id: UUID) -> dict[str, str]:
    """Name a run's page in Prefect's UI, if there is a server that has one."""
    url = urls.page_of(kind, its_id)
    return {tag: url} if url else {}


def _inputs(run: TaskRun) -> dict[str, str]:
    """Name the runs that a task run was given results of, as Prefect knows them; of very many, some from all over."""
    ids = {
        str(result.id): None
        for name, inputs in run.task_inputs.items()
        if name != "__parents__"  # the task that it was called in
        for result in inputs
        if isinstance(result, TaskRunResult | FlowRunResult)
    }
    step = max(1, -(-len(ids) // _MOST_INPUTS))
    return {INPUTS: ",".join(list(ids)[::step])} if ids else {}


def _started(run: FlowRun | TaskRun) -> int:
    """Return when the attempt began, in milliseconds since 1970, as Prefect has it."""
    running = run.state is not None and run.state.is_running()
    return round(run.state.timestamp.timestamp() * 1000) if run.state and running else formats.now()


def _first_started(run: FlowRun, now: int) -> int:
    return round(run.start_time.timestamp() * 1000) if run.start_time else now


def _log() -> Log:
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("prefect.flowml")


def _file_of(fn: Callable[..., Any]) -> str | None:
    fn = inspect.unwrap(fn)
    code = getattr(fn, "__code__", None)
    try:
        return inspect.getsourcefile(fn) if code is None else _file_of_code(code, code.co_filename)
    except TypeError:
        return None


@lru_cache(maxsize=1024)
def _file_of_code(code: CodeType, _: str) -> str | None:
    """Find it once for all calls; the name is part of the key, because code that is alike in two files is equal."""
    return inspect.getsourcefile(code)


def _function_of(flow: prefect.Flow[..., Any]) -> records.Function:
    """Tell where a flow is written; its variable is looked for, since a copy with other options may have another."""
    from prefect import Flow

    fn = inspect.unwrap(flow.fn)
    module = getattr(fn, "__module__", None)
    there = vars(sys.modules[module]) if module in sys.modules else {}
    flows = {name: thing for name, thing in list(there.items()) if isinstance(thing, Flow)}
    names = [name for name, thing in flows.items() if thing is flow]
    names += [name for name, thing in flows.items() if inspect.unwrap(thing.fn) is fn]
    return records.Function(_file_of(fn), module, names[0] if names else None)


def hints_of(fn: Callable[..., Any]) -> Mapping[str, Any]:
    """Resolve a function's annotations, with their ``Annotated`` markers, in the module that it was written in."""
    target = fn if hasattr(fn, "__annotations__") else type(fn).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except BaseException as error:  # noqa: BLE001 - a name that exists only for type checkers: what is known must do
        pass_on(error)
        return dict(getattr(target, "__annotations__", {}))
