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
BLOCKS_NAME = PrivateName(
    "prefect.blocks.core",
    "Block._block_document_name",
    "names a block that is given to a task",
    "its parameter says of which type it is only",
    on_instances=True,
)

DEPLOYMENT_ID = PrivateName(
    "prefect.context",
    "_deployment_id",
    "reads the deployment that a subflow's run inherits",
    "runs of subflows do not say by which deployment they were started",
)
RUN_SERVER = PrivateName(
    "prefect.server.api.server",
    "SubprocessASGIServer._run_uvicorn_command",
    "imports MLflow while Prefect's temporary server starts",
    "a first flow with a temporary server takes some seconds longer",
)

NAMES = (DEPLOYMENT_ID, OUTER_CONTEXT, PARAMETER_SCHEMA, BLOCKS_NAME, RUN_SERVER)
