"""Triggers in Prefect's form: an automation that starts the deployment which it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect.events import DeploymentEventTrigger
from prefect.events.actions import SendNotification
from prefect.events.schemas.events import ResourceSpecification
from pydantic import PrivateAttr

from flowml.events import vocabulary


class NotOfItself(DeploymentEventTrigger):
    """A trigger that runs of its own deployment do not fire: a training that breaches a limit would start for ever."""

    def set_deployment_id(self, deployment_id: UUID) -> None:
        """Learn the deployment, as Prefect tells it when it applies it."""
        super().set_deployment_id(deployment_id)
        labels = self.match.root if isinstance(self.match, ResourceSpecification) else dict(self.match)
        self.match = ResourceSpecification({**labels, vocabulary.DEPLOYMENT: f"!{deployment_id}"})


class Notification(DeploymentEventTrigger):
    """A trigger that sends a message instead of starting its deployment."""

    _of_its_runs: bool = PrivateAttr(default=False)
    _sent: SendNotification | None = PrivateAttr(default=None)

    def send(self, block_id: UUID, subject: str, body: str, *, of_its_runs: bool) -> None:
        """Say what is sent by which block; both texts are templates of Prefect's.

        Args:
            block_id: The block.
            subject: The message's subject.
            body: The message.
            of_its_runs: Whether only events count that come of the deployment's own runs.
        """
        self._sent = SendNotification(block_document_id=block_id, subject=subject, body=body)
        self._of_its_runs = of_its_runs

    def set_deployment_id(self, deployment_id: UUID) -> None:
        """Learn the deployment, as Prefect tells it when it applies it."""
        super().set_deployment_id(deployment_id)
        if self._of_its_runs:
            self.match_related = ResourceSpecification({vocabulary.ID: f"prefect.deployment.{deployment_id}"})

    def actions(self) -> list[Any]:
        """Return what Prefect does then."""
        return [self._sent]


def trigger(
    event: str, labels: Mapping[str, str], *, about: str, parameters: Mapping[str, Any] | None, itself: bool = False
) -> DeploymentEventTrigger:
    """Make the trigger that starts a deployment each time an event with these labels is told of.

    Args:
        event: Which one.
        labels: What its resource must have.
        about: What Prefect's UI says of it.
        parameters: Parameters for the flow; templates see the event.
        itself: Whether events have no deployment, and so cannot be of this one.
    """
    kind = DeploymentEventTrigger if itself else NotOfItself
    return kind(
        expect={event},
        match=ResourceSpecification(dict(labels)),
        parameters=dict(parameters) if parameters else None,
        description=f"flowml: {about}",
    )
