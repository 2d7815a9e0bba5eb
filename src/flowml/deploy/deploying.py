"""Deploys: everything is checked before anything is created."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from flowml.deploy import api, applying, tracking
from flowml.deploy.choosing import unique
from flowml.errors import DeploymentError
from flowml.ops.prefect_api import explained

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.deployments.runner import RunnerDeployment

    from flowml.deploy.deployment import Deployment


def deploy(deployments: Sequence[Deployment], *, replace: bool = False) -> dict[str, str]:
    """Create deployments for the workers of their work pools, or update those that are there.

    Args:
        deployments: Which.
        replace: Take the place of a deployment of the same name that is another flow's.

    Returns:
        Their ids by full name.

    Raises:
        DeploymentError: If one cannot be; none is created then.
        OrchestrationError: If Prefect's API cannot be reached.
    """
    with api.server() as client:
        wanted = [(one, applying.for_pool(one, pool_of(one))) for one in unique(deployments)]
        for one, _ in wanted:
            api.check_pool(client, pool_of(one))
            api.check_secrets(client, tracking.secrets_of(one))
        ready = _ready(client, wanted, replace=replace, keep_paused=True)
        return {one.full_name: applying.apply(made) for (one, _), made in zip(wanted, ready, strict=True)}


def serve(
    deployments: Sequence[Deployment],
    *,
    replace: bool = False,
    limit: int | None = None,
    when_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve deployments from this process until it is interrupted; their schedules are paused then.

    Args:
        deployments: Which.
        replace: Take the place of a deployment of the same name that is another flow's.
        limit: How many runs there may be at once, of all together. Default: Prefect's setting, which is 5.
        when_ready: Called when they are there, and runs can be started.

    Raises:
        DeploymentError: If one cannot be; none is created then.
        OrchestrationError: If Prefect's API cannot be reached.
    """
    from prefect.exceptions import TerminationSignal
    from prefect.runner import Runner
    from prefect.settings import PREFECT_RUNNER_PROCESS_LIMIT

    with api.server() as client:
        wanted = [(one, applying.for_serving(one)) for one in unique(deployments)]
        ready = _ready(client, wanted, replace=replace, keep_paused=False)
        runner = Runner(limit=limit or PREFECT_RUNNER_PROCESS_LIMIT.value())
        with explained():
            for made in ready:
                runner.add_deployment(made)
    when_ready()
    with suppress(KeyboardInterrupt, TerminationSignal):
        asyncio.run(runner.start())


def pool_of(deployment: Deployment) -> str:
    """Return the work pool of a deployment: its own, or Prefect's default.

    Raises:
        DeploymentError: If there is none.
    """
    from prefect.settings import PREFECT_DEPLOYMENTS_DEFAULT_WORK_POOL_NAME

    pool = deployment.work_pool or PREFECT_DEPLOYMENTS_DEFAULT_WORK_POOL_NAME.value()
    if not pool:
        msg = f"{deployment.full_name} has no work pool: give one (--work-pool, work_pool=), or use `flowml serve`."
        raise DeploymentError(msg)
    return str(pool)


def _ready(
    client: SyncPrefectClient,
    wanted: Sequence[tuple[Deployment, RunnerDeployment]],
    *,
    replace: bool,
    keep_paused: bool,
) -> list[RunnerDeployment]:
    for one, made in wanted:
        there = api.existing(client, one.full_name)
        if not replace:
            api.check_taken(there, made)
        applying.keep_what_is(made, there, keep_paused=keep_paused)
    return [made for _, made in wanted]
