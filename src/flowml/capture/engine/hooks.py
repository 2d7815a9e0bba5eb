"""What Prefect's runner does for a flow run whose process it ended, or found dead.

It closes the runs that are open, and sends what that process left on this disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect.logging.loggers import flow_run_logger

from flowml import lineage, records, settings, store
from flowml.capture.guard import Guard
from flowml.capture.links import labels

if TYPE_CHECKING:
    import prefect
    from prefect.client.schemas.objects import FlowRun, State

_KINDS = ("on_cancellation_hooks", "on_crashed_hooks")


def close_tracked_runs(flow: prefect.Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Close the flow's run and those below it that their process left open; a Prefect hook."""
    log = flow_run_logger(flow_run, flow)
    with Guard("close what the flow run left open", log, raising=False):
        _close(flow, flow_run, state)
    with Guard("send what the flow run left", log, raising=False):
        settings.reload()
        store.send_what_was_left()


def _close(flow: prefect.Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    caller = labels.caller_in_api(flow_run.id)
    if caller is None:
        return  # not tracked, or ended before it was
    status: records.Status = "FAILED" if state.is_crashed() else "KILLED"
    name = "Crashed" if state.is_crashed() else "Cancelled"
    ended = round(state.timestamp.timestamp() * 1000)
    store.close_left_open(caller, store.End(status, name, ended, "by Prefect's runner, which ended its process"))
    if caller.lineage:
        settings.reload()
        lineage.ended_elsewhere(caller.lineage, flow.name, status, ended, f"{name}: {state.message or status}")


def attach(flow: prefect.Flow[..., Any]) -> None:
    """Let a runner that loads this flow call the hook."""
    for kind in _KINDS:
        hooks = getattr(flow, kind)
        if close_tracked_runs not in hooks:
            setattr(flow, kind, [*hooks, close_tracked_runs])


def detach(flow: prefect.Flow[..., Any]) -> None:
    """Take the hook away where the flow runs in this process, which closes its runs itself."""
    for kind in _KINDS:
        setattr(flow, kind, [hook for hook in getattr(flow, kind) if hook is not close_tracked_runs])
