"""What deployed a flow run, and when it is to run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client

from flowml import settings
from flowml.capture.addresses import page_of
from flowml.errors import SettingsError


def tags_of(deployment_id: UUID) -> Mapping[str, str]:
    """Ask Prefect's API for the deployment's name and schedules; what cannot be known is left out."""
    tags: dict[str, str] = {}
    with suppress(SettingsError):  # said when the flow is tracked
        if not settings.current().enabled:
            return tags
    if url := page_of("deployment", deployment_id):
        tags["prefect.deployment_url"] = url
    with suppress(Exception), get_client(sync_client=True) as client:  # it may be deleted, and nobody depends on it
        deployment = client.read_deployment(deployment_id)
        tags["prefect.deployment_name"] = deployment.name
        if schedules := "; ".join(_schedules(deployment)):
            tags["prefect.schedule"] = schedules
    return tags


def _schedules(deployment: Any) -> Iterator[str]:
    for each in deployment.schedules:
        schedule = each.schedule
        when = getattr(schedule, "cron", None) or getattr(schedule, "rrule", None)
        if when is None and (interval := getattr(schedule, "interval", None)):
            when = f"every {interval}"
        if each.active and when:
            zone = getattr(schedule, "timezone", None)
            yield f"{when} ({zone})" if zone else str(when)
