"""Prefect's private names. Checked with Prefect 3.8.0 and 3.9.1."""

from __future__ import annotations

from flowml.patches.private import PrivateName

OUTER_CONTEXT = PrivateName(
    "prefect.context",
    "ContextModel._token",
    "finds the run that a context was entered in",
    "after a generator task that was left early, later runs may hang under it",
    on_instances=True,
)
PARAMETER_SCHEMA = PrivateName(
    "prefect.deployments.runner",
    "RunnerDeployment._parameter_openapi_schema",
    "gives a deployment the form of a flow that takes **kwargs",
    "Prefect refuses parameters that such a flow would take",
    on_instances=True,
)
RUN_SERVER = PrivateName(
    "prefect.server.api.server",
    "SubprocessASGIServer._run_uvicorn_command",
    "imports MLflow while Prefect's temporary server starts",
    "a first flow with a temporary server takes some seconds longer",
)

NAMES = (OUTER_CONTEXT, PARAMETER_SCHEMA, RUN_SERVER)
