"""Triggers in Prefect's form: an automation that starts the deployment which it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect.events import DeploymentEventTrigger
from prefect.events.schemas.events import ResourceSpecification

from flowml.events import vocabulary


class NotOfItself(DeploymentEventTrigger):
    """A trigger that runs of its own deployment do not fire: a training that breaches a limit would start for ever."""

    def set_deployment_id(self, deployment_id: UUID) -> None:
        """Learn the deployment, as Prefect tells it when it applies it."""
        super().set_deployment_id(deployment_id)
        labels = self.match.root if isinstance(self.match, ResourceSpecification) else dict(self.match)
        self.match = ResourceSpecification({**labels, vocabulary.DEPLOYMENT: f"!{deployment_id}"})


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
