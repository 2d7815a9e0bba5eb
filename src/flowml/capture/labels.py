"""How a call in another process learns which run it belongs under: Prefect carries the labels of its runs there.

A call notes its run in the labels of its Prefect run. They are in the context that Prefect sends along with a task to
another process or machine. Prefect's API keeps a flow run's label as an input of the flow run, for flows that it starts
by deployment and for whoever looks for its run. It is not told of the label itself: its server reads a flow run before
it writes the labels, and on SQLite refuses the write when another came between. An exception of such a refusal, freed
while another connection waits for the database, stops the whole server for a minute.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextvars import Token
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID, uuid4

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, TaskRun, TaskRunResult
from prefect.context import ContextModel, FlowRunContext, TaskRunContext

from flowml import records
from flowml.capture.verdict import watched

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

LABEL = "flowml.run"
_KEPT = "flowml-run-"  # how the keys of what Prefect's API keeps begin
_UNKNOWN = "unknown"
_MOST = 1000  # labels remembered as kept, and asked for of one flow run

_kept: dict[UUID, str] = {}  # the label that Prefect's API keeps of each flow run, the last ones of this process

C = TypeVar("C", bound=ContextModel)


def note(run: FlowRun | TaskRun, attempt: int, caller: records.Caller | None) -> None:
    """Note the run of an attempt; without a caller, that it is not known yet: `settle` asks for it then."""
    told = {_UNKNOWN: True} if caller is None else dataclasses.asdict(caller)
    _write(run, {"of": str(run.id), "attempt": attempt, "state": _state_id(run), **told})


def settle(run: FlowRun | TaskRun) -> None:
    """Have the run known before the labels leave this process, with a task or a flow that is sent elsewhere."""
    noted = run.labels.get(LABEL)
    if isinstance(noted, str) and _UNKNOWN in noted:
        told = json.loads(noted)
        caller = _announced(told)
        del told[_UNKNOWN]
        _write(run, {**told, **dataclasses.asdict(caller or records.Caller(None, ""))})


def _announced(told: Mapping[str, Any]) -> records.Caller | None:
    """Ask the session of this process that a label is of for its run, which may have to be created for it."""
    watch = watched.get(UUID(told["of"]))
    return watch.session.announce() if watch and watch.session else None


def _write(run: FlowRun | TaskRun, noted: Mapping[str, Any]) -> None:
    """Write the label; the labels are assigned anew, for pydantic to see that they were set."""
    run.labels = {**run.labels, LABEL: json.dumps(noted)}


def keep(run: FlowRun, client: SyncPrefectClient) -> None:
    """Let Prefect's API keep a flow run's label, for flows that this one starts by deployment."""
    label = str(run.labels[LABEL])
    if _kept.get(run.id) == label:
        return
    # Prefect refuses the same key twice, and a later attempt has another label.
    client.create_flow_run_input(run.id, f"{_KEPT}{uuid4().hex}", label)
    _kept[run.id] = label
    for oldest in list(_kept)[:-_MOST]:
        _kept.pop(oldest, None)


def keep_here() -> None:
    """Let Prefect's API know the run of the flow that is running here, which starts another by deployment."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is not None and LABEL in run.labels:
        settle(run)
        with get_client(sync_client=True) as client:
            keep(run, client)


def is_tracked(run: FlowRun | TaskRun) -> bool:
    """Tell whether this very attempt has begun to be tracked; a flow that was suspended begins the same one again."""
    told = _noted(run)
    begins = run.state is not None and run.state.is_running() and told.get("state") != _state_id(run)
    return told.get("attempt") == run.run_count and not begins


def _noted(run: FlowRun | TaskRun) -> Mapping[str, Any]:
    noted = run.labels.get(LABEL)
    told: Mapping[str, Any] = json.loads(noted) if isinstance(noted, str) else {}
    return told if told.get("of") == str(run.id) else {}  # Prefect's API copies a flow's labels to its tasks


def _state_id(run: FlowRun | TaskRun) -> str:
    return str(run.state.id) if run.state else ""


def caller_of_task(context: TaskRunContext) -> records.Caller | None:
    """Find who called a task, where no session of this process says so: the task round it, or its flow."""
    for outer in _outwards(context):
        if outer.task_run.id != context.task_run.id and outer.task_run.flow_run_id == context.task_run.flow_run_id:
            return _caller(outer.task_run.labels)
    flow = FlowRunContext.get()
    return _caller(flow.flow_run.labels) if flow and flow.flow_run and context.task_run.flow_run_id else None


def caller_of_flow(context: FlowRunContext) -> records.Caller | None:
    """Find who called a flow, where no session of this process says so: a task, a flow, or one in another process."""
    task = TaskRunContext.get()
    if task is not None:
        return _caller(task.task_run.labels)
    for outer in _outwards(context):
        if outer.flow_run and context.flow_run and outer.flow_run.id != context.flow_run.id:
            return _caller(outer.flow_run.labels)
    stand_in_id = context.flow_run.parent_task_run_id if context.flow_run else None
    return _caller_by_deployment(stand_in_id) if stand_in_id else None


def _caller_by_deployment(stand_in_id: UUID) -> records.Caller | None:
    """Ask Prefect's API for the flow that started this one; a task run stands in it for this flow run."""
    with get_client(sync_client=True) as client:
        stand_in = client.read_task_run(stand_in_id)
    found = caller_in_api(stand_in.flow_run_id) if stand_in.flow_run_id else None
    starters = stand_in.task_inputs.get("__parents__", [])
    started_by = next((starter.id for starter in starters if isinstance(starter, TaskRunResult)), None)
    return dataclasses.replace(found, tag=("prefect.task_run_id", str(started_by))) if found and started_by else found


def caller_in_api(flow_run_id: UUID) -> records.Caller | None:
    """Return what the process of a flow run told of its run."""
    with get_client(sync_client=True) as client:
        kept = client.filter_flow_run_input(flow_run_id, _KEPT, _MOST, set())
    return _caller({LABEL: kept[-1].value}) if kept else None


def _caller(labels: Mapping[str, Any]) -> records.Caller | None:
    noted = labels.get(LABEL)
    if not isinstance(noted, str):
        return None
    told = json.loads(noted)
    if _UNKNOWN in told:
        return _announced(told)
    run = records.CurrentRun(**told["run"]) if told["run"] else None
    tag = tuple(told["tag"]) if told["tag"] else None
    return records.Caller(run, told["tracking_uri"], told["registry_uri"], tag, told["children"])


def _outwards(context: C) -> Iterator[C]:
    """Go from a context to those that it was entered in."""
    inner: C | None = context
    while inner is not None:
        yield inner
        token = inner._token  # noqa: SLF001 - Prefect has no public way outwards
        outer = token.old_value if token is not None else None
        inner = None if outer is Token.MISSING else outer
