"""How a call in another process learns which run it belongs under: Prefect carries the labels of its runs there.

A call notes its run in the labels of its Prefect run. The context that Prefect sends along with a task to another
process or machine has a label more, which says who sent it: the run that the context is of need not be the caller's.
Prefect's API keeps a flow run's label as an input of the flow run, for flows that it starts by deployment and for
whoever looks for its run. It is not told of the label itself: its server reads a flow run before it writes the labels,
and on SQLite refuses the write when another came between. An exception of such a refusal, freed while another
connection waits for the database, stops the whole server for a minute.
"""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, TaskRun, TaskRunResult
from prefect.context import FlowRunContext, TaskRunContext

from flowml import records
from flowml.capture import contexts
from flowml.capture.verdict import run_watches

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

LABEL = "flowml.run"
_KEPT = "flowml-run-"  # how the keys of what Prefect's API keeps begin
SENDER = "flowml.caller"  # never on a run of this process or in Prefect's API: only in a context from elsewhere
_UNKNOWN = "unknown"
_MOST = 1000  # labels remembered as kept, and asked for of one flow run

_SPAN_OF = "flowml-span-"  # the same of the spans of tasks that start other flows
_spans_kept: deque[str] = deque(maxlen=_MOST)
_kept: dict[UUID, str] = {}  # the label that Prefect's API keeps of each flow run, the last ones of this process


def note(run: FlowRun | TaskRun, attempt: int, caller: records.Caller | None) -> None:
    """Note the run of an attempt; without a caller, that it is not known yet: `complete` asks for it then."""
    fields = {_UNKNOWN: True} if caller is None else caller.write()
    _write(run, {"of": str(run.id), "attempt": attempt, "state": _state_id(run), **fields})


def complete(run: FlowRun | TaskRun) -> None:
    """Have the run known before the labels leave this process, with a task or a flow that is sent elsewhere."""
    noted = run.labels.get(LABEL)
    if isinstance(noted, str) and _UNKNOWN in noted:
        label = json.loads(noted)
        caller = _announced(label)
        del label[_UNKNOWN]
        _write(run, {**label, **(caller or records.Caller(None, "")).write()})


def _announced(label: Mapping[str, Any]) -> records.Caller | None:
    """Ask the session of this process that a label is of for its run, which may have to be created for it."""
    watch = run_watches.get(UUID(label["of"]))
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


def keep_here(caller: records.Caller | None = None) -> None:
    """Let Prefect's API know the run of the flow that is running here, which starts another by deployment.

    Args:
        caller: The call that starts it, in that flow, if it has a span in a trace.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or LABEL not in run.labels:
        return
    complete(run)
    with get_client(sync_client=True) as client:
        keep(run, client)
        task = TaskRunContext.get()
        if caller and caller.span and task and caller.span.span not in _spans_kept:
            key = f"{_SPAN_OF}{task.task_run.id.hex}-{uuid4().hex}"  # a task that is tried again has another span
            client.create_flow_run_input(run.id, key, json.dumps(caller.span))
            _spans_kept.append(caller.span.span)


def is_tracked(run: FlowRun | TaskRun) -> bool:
    """Tell whether this very attempt has begun to be tracked; a flow that was suspended begins the same one again."""
    label = _noted(run)
    begins = run.state is not None and run.state.is_running() and label.get("state") != _state_id(run)
    return label.get("attempt") == run.run_count and not begins


def _noted(run: FlowRun | TaskRun) -> Mapping[str, Any]:
    noted = run.labels.get(LABEL)
    label: Mapping[str, Any] = json.loads(noted) if isinstance(noted, str) else {}
    return label if label.get("of") == str(run.id) else {}  # Prefect's API copies a flow's labels to its tasks


def _state_id(run: FlowRun | TaskRun) -> str:
    return str(run.state.id) if run.state else ""


def address(sent: dict[str, Any], caller: records.Caller | None) -> None:
    """Note in a run's context that Prefect sends elsewhere who is calling there; nobody, for None.

    The run itself need not be: a generator's context stays set while its consumer goes on.
    """
    label = json.dumps(caller.write() if caller else None)
    sent["labels"] = {**sent.get("labels", {}), SENDER: label}


def calling(run: FlowRun | TaskRun) -> records.Caller | None:
    """Return a run as a caller where no session says who calls: its engine calls its hooks then."""
    return None if contexts.is_left(run) else caller_of(run)


def caller_here(own_id: UUID) -> records.Caller | None:
    """Find who made a call where no session of this process says so.

    It is who sent Prefect's context here, or a run whose hooks are called.

    Args:
        own_id: The id of the called run, whose own context is set already.
    """
    for run in contexts.runs_around():
        if SENDER in run.labels:
            label = json.loads(str(run.labels[SENDER]))
            return records.Caller.read(label) if label else None
        if run.id != own_id and (caller := calling(run)):
            return caller
    return None


def caller_of_flow(run: FlowRun) -> records.Caller | None:
    """Find who called a flow where no session of this process says so: here, or in the process of another flow."""
    if caller := caller_here(run.id):
        return caller
    # A flow that was left behind here has a task run stand for this one too, but did not call it.
    is_of_one_here = any(other.id != run.id for other in contexts.flow_runs_around())
    return None if is_of_one_here or run.parent_task_run_id is None else _caller_by_deployment(run.parent_task_run_id)


def _caller_by_deployment(stand_in_id: UUID) -> records.Caller | None:
    """Ask Prefect's API for the flow that started this one; a task run stands in it for this flow run."""
    with get_client(sync_client=True) as client:
        stand_in = client.read_task_run(stand_in_id)
    caller = caller_in_api(stand_in.flow_run_id) if stand_in.flow_run_id else None
    starters = stand_in.task_inputs.get("__parents__", [])
    started_by = next((starter.id for starter in starters if isinstance(starter, TaskRunResult)), None)
    if caller is None or not started_by:
        return caller
    tag, span = ("prefect.task_run_id", str(started_by)), caller.span
    if span and stand_in.flow_run_id:
        with get_client(sync_client=True) as client:
            kept = client.filter_flow_run_input(stand_in.flow_run_id, f"{_SPAN_OF}{started_by.hex}", _MOST, set())
        span = records.SpanIds(*json.loads(kept[-1].value)) if kept else span
    return dataclasses.replace(caller, tag=tag, key=None, span=span)  # the key is the flow's


def caller_in_api(flow_run_id: UUID) -> records.Caller | None:
    """Return what the process of a flow run told of its run."""
    with get_client(sync_client=True) as client:
        kept = client.filter_flow_run_input(flow_run_id, _KEPT, _MOST, set())
    return _told(kept[-1].value) if kept else None


def caller_of(run: FlowRun | TaskRun) -> records.Caller | None:
    """Return what a run's labels tell of it as a caller."""
    return _told(run.labels.get(LABEL))


def _told(noted: Any) -> records.Caller | None:
    if not isinstance(noted, str):
        return None
    label = json.loads(noted)
    return _announced(label) if _UNKNOWN in label else records.Caller.read(label)
