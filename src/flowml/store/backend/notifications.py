"""Notifies who subscribed of what came to be in MLflow: a flow's run ended, a model logged, registered, promoted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from flowml import faults, records
from flowml.errors import pass_on

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Kind: TypeAlias = Literal["run finished", "run left open", "model logged", "model registered", "model promoted"]
Subscriber: TypeAlias = "Callable[[Notification], None]"

_logger = logging.getLogger(__name__)
_subscribers: list[Subscriber] = []


@dataclass(frozen=True, slots=True)
class Notification:
    """What came to be in MLflow.

    Attributes:
        kind: What it is; a run is left open when MLflow refuses to close it.
        client: The client that reads more of it.
        experiment_id: The run's experiment.
        run_id: The run that it came to be in.
        tags: The run's tags: whose it is.
        facts: What is particular to it.
        summary: What the run holds, if it is a flow's that ended.
    """

    kind: Kind
    client: MlflowClient
    experiment_id: str
    run_id: str
    tags: Mapping[str, str]
    facts: Mapping[str, str] = field(default_factory=dict)
    summary: records.Summary | None = None


def subscribe(subscriber: Subscriber) -> None:
    """Notify a subscriber of all that is sent from now on; it is called in the sender's thread, and must not wait."""
    if subscriber not in _subscribers:
        _subscribers.append(subscriber)


def notify(notification: Notification, *own: Subscriber, to_all: bool = True) -> None:
    """Notify all subscribers, and those of the run itself; what goes wrong there is theirs."""
    for subscriber in (*(_subscribers if to_all else ()), *own):
        try:
            subscriber(notification)
        except BaseException as error:  # noqa: BLE001 - the others are notified
            pass_on(error)
            faults.tell(f"tell of a {notification.kind}", error, _logger)


def notify_closed(client: MlflowClient, run: Run, status: str) -> None:
    """Notify that a run was closed which its own process left open, if it is a flow's."""
    tags, info = run.data.tags, run.info
    if tags.get("flowml.kind") == "flow":
        facts = {"status": status, "name": str(info.run_name)}
        notify(Notification("run finished", client, info.experiment_id, info.run_id, tags, facts))
