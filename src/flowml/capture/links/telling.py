"""Tells Prefect of what the user's code came to, as an event of the flow run that is running here."""

from __future__ import annotations

from dataclasses import replace

from flowml.capture import contexts
from flowml.capture.links import urls
from flowml.capture.session import current
from flowml.events import emitting, reporting, vocabulary
from flowml.events.vocabulary import Event


def tell(event: Event) -> None:
    """Emit an event, with the run, the flow run and the deployment that it came to be in, and both pages.

    Args:
        event: What happened; what it tells itself stays.
    """
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
    place = {
        "run_id": run.run_id if run else None,
        "run_url": run.url if run else None,
        "flow_run_id": tags["prefect.flow_run_id"],
        "flow_run_url": urls.page_of("flow-run", flow_run.id) if flow_run else None,
    }
    emitting.emit(
        replace(
            event,
            about={**event.about, vocabulary.DEPLOYMENT: deployment or vocabulary.NOBODY},
            payload={**place, **event.payload},
            related=reporting.related_to(run.run_id if run else "", {key: one for key, one in tags.items() if one}),
        )
    )
