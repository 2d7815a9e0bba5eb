"""Makes events of what the store tells: whose run it was, and where to see it."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

from flowml import faults
from flowml.background import Publisher
from flowml.events import vocabulary
from flowml.events.emitting import emit, is_on
from flowml.events.judging import judged
from flowml.events.vocabulary import Event
from flowml.patches.others import REGISTER_ATEXIT
from flowml.secrets.uris import without_credentials
from flowml.store.backend import urls
from flowml.store.backend.connection import ui_of
from flowml.store.backend.notifications import Notification, subscribe

_MOST_METRICS = 50  # in an event
_PATIENCE = 5.0  # seconds that the end of the process waits for what is being judged

_logger = logging.getLogger(__name__)
_judge = Publisher(idle=lambda: None)
_is_waited_for = False


def begin() -> None:
    """Tell Prefect of what the store tells from now on."""
    subscribe(report)


def report(notification: Notification) -> None:
    """Tell Prefect of one thing that came to be in MLflow; a flow's run is judged in the background."""
    if not is_on():
        return
    payload, related = _of_the_run(notification), related_to(notification.run_id, notification.tags)
    for event in _events_of(notification, payload, related):
        emit(event)
    if notification.kind == "run finished":
        _wait_at_exit()
        _judge.add(partial(_tell_judged, notification, payload, related))


def _tell_judged(
    notification: Notification, payload: Mapping[str, Any], related: tuple[Mapping[str, str], ...]
) -> None:
    try:
        for event in judged(notification, payload, related):
            emit(event)
    except Exception as error:  # noqa: BLE001 - of Prefect's client, or flowml's own
        faults.tell(f"judge the run {notification.run_id}", error, _logger)


def _wait_at_exit() -> None:
    """Have the process wait for what is being judged, before Prefect's sender of events ends."""
    global _is_waited_for  # noqa: PLW0603 - the one place that holds it
    if _is_waited_for:
        return
    with suppress(RuntimeError):  # the process ends already
        # Not `atexit`: Prefect's sender is gone by then. It is there now, and of those who wait the last comes first.
        if register := REGISTER_ATEXIT.get():
            register(_judge.wait, _PATIENCE)
    _is_waited_for = True


def _begin_in_fork() -> None:
    global _is_waited_for  # noqa: PLW0603 - Prefect's sender is made anew there
    _is_waited_for = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_fork)


def _events_of(
    notification: Notification, payload: Mapping[str, Any], related: tuple[Mapping[str, str], ...]
) -> Iterator[Event]:
    facts = {**notification.facts, "made_by": notification.run_id}
    deployment = notification.tags.get("prefect.deployment_id", vocabulary.NOBODY)
    match notification.kind:
        case "run finished":
            yield _finished(notification, payload, related, deployment)
        case "model logged":
            uri = f"models:/{facts['model_id']}"
            about = {vocabulary.ID: f"mlflow.model.{facts['model_id']}", vocabulary.NAME: facts["name"]}
            payload = {**payload, "model_id": facts["model_id"], "name": facts["name"], "model_uri": uri}
            labels = {**about, vocabulary.DEPLOYMENT: deployment}
            yield Event(vocabulary.MODEL_LOGGED, labels, payload, related, same=facts["model_id"])
        case "model registered":
            yield vocabulary.registered(facts, payload, related, deployment)
        case "model promoted":
            yield vocabulary.promoted(facts, payload, related, deployment)


def _finished(
    notification: Notification, payload: Mapping[str, Any], related: tuple[Mapping[str, str], ...], deployment: str
) -> Event:
    flow, status = notification.tags.get("prefect.flow_name", ""), notification.facts["status"]
    about = {
        vocabulary.ID: f"mlflow.run.{notification.run_id}",
        vocabulary.NAME: notification.facts["name"],
        vocabulary.FLOW: vocabulary.label(flow),
        vocabulary.DEPLOYMENT: deployment,
        "flowml.status": status,
    }
    same = f"{notification.run_id} {notification.tags.get('flowml.attempt', '1')} {status}"
    metrics = notification.summary.metrics if notification.summary else {}
    metrics = {key: value for key, value in metrics.items() if not key.startswith("flowml.")}
    # JSON has no NaN
    told = {key: value if math.isfinite(value) else str(value) for key, value in islice(metrics.items(), _MOST_METRICS)}
    return Event(vocabulary.RUN_FINISHED, about, {**payload, "status": status, "metrics": told}, related, same)


def _of_the_run(notification: Notification) -> dict[str, Any]:
    """Tell where the run is, and who made it."""
    uri = notification.client.tracking_uri
    ui = ui_of(uri)
    page = urls.under(ui, urls.of_run(notification.experiment_id, notification.run_id)) if ui else None
    tags = notification.tags
    return {
        "run_id": notification.run_id,
        "experiment_id": notification.experiment_id,
        "run_url": page,
        "tracking_uri": without_credentials(uri),
        "flow": tags.get("prefect.flow_name"),
        "task": tags.get("prefect.task_name"),
        "flow_run_id": tags.get("prefect.flow_run_id"),
        "flow_run_url": tags.get("prefect.flow_run_url"),
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
        {vocabulary.ID: f"{kind}.{known_by}", vocabulary.ROLE: role, **({vocabulary.NAME: name} if name else {})}
        for kind, role, known_by, name in known
        if known_by
    )
