"""Writes deployments as a ``prefect.yaml``, for those who deploy by ``prefect deploy``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowml.deploy import applying, tracking
from flowml.deploy.choosing import unique
from flowml.deploy.deploying import pool_of
from flowml.errors import DeploymentError

if TYPE_CHECKING:
    from flowml.deploy.deployment import Deployment

FILE = "prefect.yaml"
_HEAD = "# Written by `flowml deploy --export`, which writes it anew. Deploy with: prefect deploy --all\n"


def export(deployments: Sequence[Deployment]) -> Path:
    """Write ``prefect.yaml`` into the project's folder; it needs no server.

    Args:
        deployments: Which.

    Returns:
        The file.

    Raises:
        DeploymentError: If one cannot be, or there is a file that somebody else wrote,
            or one notifies.
    """
    import yaml

    wanted = unique(deployments)
    if secrets := [one for one in wanted if tracking.secrets_of(one)]:
        # `prefect deploy` puts a block's value in the place of its name, and keeps that.
        msg = f"{secrets[0].full_name} refers to a Secret block, which `prefect deploy` would disclose; use env:NAME."
        raise DeploymentError(msg)
    if notifying := [one for one in wanted if one.notify]:
        msg = f"{notifying[0].full_name} has notify=, which a {FILE} cannot say; use `flowml deploy`."
        raise DeploymentError(msg)
    (folder, *others) = {applying.folder_of(one) for one in wanted}
    if others:
        msg = f"A {FILE} is about one folder, and these flows are in several: {folder}, {', '.join(map(str, others))}."
        raise DeploymentError(msg)
    content = {
        "name": folder.name,
        "pull": [{"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}],
        "deployments": [_entry(one) for one in wanted],
    }
    file = folder / FILE
    if file.exists() and not file.read_text(encoding="utf-8").startswith(_HEAD):
        msg = f"{file} is there already, and not flowml's: move it away first."
        raise DeploymentError(msg)
    file.write_text(_HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return file


def _entry(deployment: Deployment) -> dict[str, Any]:
    made = applying.for_pool(deployment, pool_of(deployment))
    kept = made.model_dump(mode="json", include={"tags", "parameters", "concurrency_limit", "description"})
    pull = [made.storage.to_pull_step()] if made.storage and deployment.source else []
    return {
        "name": made.name,
        "entrypoint": made.entrypoint,
        **({"pull": pull} if pull else {}),
        **{key: value for key, value in kept.items() if value},
        "schedules": [_schedule(one) for one in made.schedules or []],
        "triggers": [one.model_dump(mode="json", exclude_unset=True) for one in made.triggers],
        "work_pool": {"name": made.work_pool_name, "job_variables": made.job_variables},
    }


def _schedule(schedule: Any) -> dict[str, Any]:
    fields = {key: value for key, value in schedule.schedule.model_dump(mode="json").items() if value is not None}
    fields |= {"active": schedule.active is not False}
    fields |= {"parameters": schedule.parameters} if schedule.parameters else {}
    return fields | ({"slug": schedule.slug} if schedule.slug else {})
