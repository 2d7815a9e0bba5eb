"""Makes Prefect's deployments out of those that were declared; applied again, they change only where they differ."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flowml import settings
from flowml.capture.engine.origin import rule
from flowml.capture.links import urls
from flowml.deploy import api, sources, tracking
from flowml.deploy import parameters as flow_parameters
from flowml.deploy.schedules import as_prefects
from flowml.ops.prefect_api import explained
from flowml.patches.prefect import PARAMETER_SCHEMA

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.deployments.runner import RunnerDeployment

    from flowml.deploy.deployment import Deployment


_SOME = UUID(int=1)


def for_serving(deployment: Deployment) -> RunnerDeployment:
    """Return Prefect's deployment for a process that serves it, which has the settings of this one.

    Raises:
        DeploymentError: If the flow is in no file, or there is no such block to notify by.
    """
    file, name = sources.whereabouts(deployment.flow)
    made = _made(deployment)
    made.entrypoint = f"{_relative(file, Path.cwd())}:{name}"
    made.work_pool_name = None  # said, for it may have had one
    return made


def for_pool(deployment: Deployment, pool: str) -> RunnerDeployment:
    """Return Prefect's deployment for the workers of a pool: it carries where runs are tracked.

    Raises:
        DeploymentError: If the flow is in no file, tracking cannot be carried, or there is no such block to notify by.
    """
    from prefect.runner.storage import LocalStorage

    file, name = sources.whereabouts(deployment.flow)
    folder = folder_of(deployment)
    made = _made(deployment)
    made.entrypoint = f"{_relative(file, folder)}:{name}"
    made.storage = sources.repository(deployment.source) if deployment.source else LocalStorage(str(folder))
    made.work_pool_name = pool
    made.job_variables = job_variables(deployment)
    return made


def job_variables(deployment: Deployment) -> dict[str, Any]:
    """Return a deployment's job variables, among them the environment that its tracking needs.

    Raises:
        DeploymentError: If tracking cannot be carried.
    """
    carried = {**tracking.environment(deployment), **tracking.variables(deployment)}
    return {**deployment.job_variables, "env": carried}


def folder_of(deployment: Deployment) -> Path:
    """Return the folder that a worker works in: the project's or repository's, or the file's own if it is elsewhere.

    Raises:
        DeploymentError: If there is none.
    """
    file, _ = sources.whereabouts(deployment.flow)
    if deployment.source:
        return sources.root_of(file)
    project = settings.project_folder().resolve()
    return project if file.is_relative_to(project) else file.parent


def keep_what_is(made: RunnerDeployment, there: DeploymentResponse | None, *, keep_paused: bool) -> None:
    """Leave alone what a deployment has already.

    Prefect would replace its schedules, by others with the same times: a run that a worker has begun to start would be
    planned a second time. And what was paused by hand stays so.

    Args:
        made: The deployment as it shall be.
        there: As it is; None if there is none.
        keep_paused: Whether a work pool's stays paused as a whole; another was paused by the end of what served it.
    """
    if there is None:
        return
    if keep_paused and there.paused and there.work_pool_name:
        made.paused = True
    was, wanted = (sorted(map(_form, some)) for some in (there.schedules, made.schedules or []))  # it keeps no order
    if was == wanted:
        made.schedules = None
        made.model_fields_set.discard("schedules")  # what is not set is not sent, and nothing sent means no change
    elif there.schedules and not any(one.active for one in there.schedules):
        for schedule in made.schedules or []:
            schedule.active = False


def apply(made: RunnerDeployment) -> str:
    """Create or update one; returns its id.

    Raises:
        OrchestrationError: If Prefect refuses it.
    """
    with explained():
        return str(made.apply())


def _made(deployment: Deployment) -> RunnerDeployment:
    from prefect.deployments.runner import RunnerDeployment

    triggers: list[Any] = [
        one.automation_trigger() if hasattr(one, "automation_trigger") else one for one in deployment.triggers
    ]
    page = (urls.page_of("flow-run", _SOME) or "").replace(str(_SOME), "{id}")
    for one in deployment.notify:
        triggers += one.triggers(api.notification_block(one.block), deployment.full_name, page)
    made: RunnerDeployment = RunnerDeployment.from_flow(
        deployment.flow,
        name=deployment.name,
        schedules=[as_prefects(one) for one in deployment.schedules],
        parameters=dict(deployment.parameters),
        tags=list(deployment.tags),
        concurrency_limit=deployment.concurrency_limit,
        triggers=triggers,
        description=deployment.description,
    )
    # Prefect needs **kwargs to be given.
    setattr(made, PARAMETER_SCHEMA.name.rpartition(".")[2], flow_parameters.form_of(deployment.flow))
    return made


def _form(schedule: Any) -> str:
    fields = schedule.schedule.model_dump(mode="json")
    if "rrule" in fields:
        fields["rrule"] = rule(fields["rrule"])
    return json.dumps((fields, schedule.parameters or {}, schedule.slug), sort_keys=True, default=str)


def _relative(file: Path, folder: Path) -> str:
    return Path(os.path.relpath(file, folder.resolve())).as_posix()
