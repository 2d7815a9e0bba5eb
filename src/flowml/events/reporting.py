"""Makes events of what the store tells: whose run it was, and where to see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from flowml.events import names, promotion
from flowml.events.emitting import emit, is_on
from flowml.events.judging import judged
from flowml.events.names import Event
from flowml.store import news, pages
from flowml.store.connection import ui_of
from flowml.store.news import News
from flowml.store.trouble import without_credentials


def begin() -> None:
    """Tell Prefect of what the store tells from now on."""
    news.listen(report)


def report(told: News) -> None:
    """Tell Prefect of one thing that came to be in MLflow."""
    if not is_on():
        return
    for event in _events_of(told):
        emit(event)


def _events_of(told: News) -> Iterator[Event]:
    payload, related = _of_the_run(told), related_to(told.run_id, told.tags)
    facts = {**told.facts, "made_by": told.run_id}
    deployment = told.tags.get("prefect.deployment_id", names.NOBODY)
    match told.kind:
        case "run finished":
            yield _finished(told, payload, related, deployment)
            yield from judged(told, payload, related)
        case "model logged":
            uri = f"models:/{facts['model_id']}"
            about = {names.ID: f"mlflow.model.{facts['model_id']}", names.NAME: facts["name"]}
            payload = {**payload, "model_id": facts["model_id"], "name": facts["name"], "model_uri": uri}
            labels = {**about, names.DEPLOYMENT: deployment}
            yield Event(names.MODEL_LOGGED, labels, payload, related, same=facts["model_id"])
        case "model registered":
            yield promotion.registered(facts, payload, related, deployment)
        case "model promoted":
            yield promotion.promoted(facts, payload, related, deployment)


def _finished(told: News, payload: Mapping[str, Any], related: tuple[Mapping[str, str], ...], deployment: str) -> Event:
    flow, status = told.tags.get("prefect.flow_name", ""), told.facts["status"]
    about = {
        names.ID: f"mlflow.run.{told.run_id}",
        names.NAME: told.facts["name"],
        names.FLOW: names.label(flow),
        names.DEPLOYMENT: deployment,
        "flowml.status": status,
    }
    same = f"{told.run_id} {told.tags.get('flowml.attempt', '1')} {status}"
    return Event(names.RUN_FINISHED, about, {**payload, "status": status}, related, same)


def _of_the_run(told: News) -> dict[str, Any]:
    """Tell where the run is, and who made it."""
    uri = told.client.tracking_uri
    ui = ui_of(uri)
    page = pages.under(ui, pages.of_run(told.experiment_id, told.run_id)) if ui else None
    whose = partial(told.tags.get)
    return {
        "run_id": told.run_id,
        "experiment_id": told.experiment_id,
        "run_url": page,
        "tracking_uri": without_credentials(uri),
        "flow": whose("prefect.flow_name"),
        "task": whose("prefect.task_name"),
        "flow_run_id": whose("prefect.flow_run_id"),
        "flow_run_url": whose("prefect.flow_run_url"),
    }


def related_to(run_id: str, tags: Mapping[str, str]) -> tuple[Mapping[str, str], ...]:
    """Name what an event has to do with: its run in MLflow, its flow run, task run and deployment in Prefect."""
    known = (
        ("mlflow.run", "run", run_id, None),
        ("prefect.flow-run", "flow-run", tags.get("prefect.flow_run_id"), tags.get("prefect.flow_run_name")),
        ("prefect.task-run", "task-run", tags.get("prefect.task_run_id"), tags.get("prefect.task_name")),
        ("prefect.deployment", "deployment", tags.get("prefect.deployment_id"), None),
    )
    return tuple(
        {names.ID: f"{kind}.{known_by}", names.ROLE: role, **({names.NAME: name} if name else {})}
        for kind, role, known_by, name in known
        if known_by
    )
