"""Tells Prefect of what the user's code came to, as an event of the flow run that is running here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowml.capture import contexts
from flowml.capture.links import urls
from flowml.capture.session import current
from flowml.events import emitting, reporting, vocabulary
from flowml.events.vocabulary import Event


def tell(name: str, about: Mapping[str, str], payload: Mapping[str, Any], *, same: str | None = None) -> None:
    """Emit an event, with the run, the flow run and the deployment that it came to be in.

    Args:
        name: Which one.
        about: The labels of what it is about, its id among them.
        payload: What is told, beside where it happened.
        same: Two events of which this is the same are one.
    """
    here = Here()
    emitting.emit(
        Event(name, {**about, vocabulary.DEPLOYMENT: here.deployment}, {**here.payload, **payload}, here.related, same)
    )


class Here:
    """Where the user's code is running, in the terms of an event.

    Attributes:
        flow: The flow's name; None outside one.
        deployment: The id of the deployment whose run it is; that of nobody if it is none's.
        related: The labels of its runs.
        payload: Both pages, as far as they are known.
    """

    def __init__(self) -> None:
        flow, task, run, session = contexts.flow_here(), contexts.task_here(), None, current()
        if session is not None:
            with session.guard("tell of the run", raising=False):
                run = session.run.info
        flow_run = flow.flow_run if flow else None
        deployment = str(flow_run.deployment_id) if flow_run and flow_run.deployment_id else None
        tags = {
            "prefect.flow_run_id": str(flow_run.id) if flow_run else None,
            "prefect.flow_run_name": flow_run.name if flow_run else None,
            "prefect.task_run_id": str(task.task_run.id) if task else None,
            "prefect.task_name": task.task.name if task else None,
            "prefect.deployment_id": deployment,
        }
        known = {key: value for key, value in tags.items() if value}
        self.flow = flow.flow.name if flow and flow.flow else None
        self.deployment = deployment or vocabulary.NOBODY
        self.related = reporting.related_to(run.run_id if run else "", known)
        self.payload: Mapping[str, Any] = {
            "run_id": run.run_id if run else None,
            "run_url": run.url if run else None,
            "flow_run_id": known.get("prefect.flow_run_id"),
            "flow_run_url": urls.page_of("flow-run", flow_run.id) if flow_run else None,
        }
