"""Pauses and resumes a deployment's schedules.

Prefect keeps two switches: the deployment's, which serving it sets and unsets by itself, and that of each schedule.
Both are turned, so that what was paused by hand stays so when it is served or deployed again.
"""

from __future__ import annotations

from flowml.deploy import api
from flowml.ops.prefect_api import explained


def pause(name: str) -> str:
    """Let a deployment's schedules start no more runs; those that were planned are taken back.

    Args:
        name: The deployment, such as ``training/nightly``.

    Returns:
        Its full name.

    Raises:
        DeploymentError: If there is none.
        OrchestrationError: If Prefect's API cannot be asked.
    """
    return _turn(name, on=False)


def resume(name: str) -> str:
    """Let a deployment's schedules start runs again, from now on.

    Args:
        name: The deployment, such as ``training/nightly``.

    Returns:
        Its full name.

    Raises:
        DeploymentError: If there is none.
        OrchestrationError: If Prefect's API cannot be asked.
    """
    return _turn(name, on=True)


def _turn(name: str, *, on: bool) -> str:
    with api.server() as client:
        full_name, deployment = api.named(client, name)
        with explained():
            for schedule in deployment.schedules:
                client.update_deployment_schedule(deployment.id, schedule.id, active=on)
            if on:
                client.resume_deployment(deployment.id)
            else:
                client.pause_deployment(deployment.id)
    return full_name
