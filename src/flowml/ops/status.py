"""Tells how the project's servers are."""

from __future__ import annotations

import os
from typing import Any

from flowml.secrets import mask
from flowml.stack import health, state
from flowml.stack.state import Server, Stack


def status() -> dict[str, Any]:
    """Return how the project's servers are, as plain data.

    Returns:
        ``running``, whether both run and answer; for each server ``url``, ``pid``, ``state`` and ``log``; and where
        flows write to.
    """
    stack = state.read()
    if stack is None:
        return {"running": False, "stack": str(state.path()), "servers": {}}
    servers = {server.name: _server(stack, server) for server in stack.servers}
    return {
        "running": all(server["state"] == "running" for server in servers.values()),
        "stack": str(state.path()),
        "servers": servers,
        "tracking_uri": mask(stack.database),
        "export": f"export PREFECT_API_URL={stack.prefect.url}/api",
    }


def overruled(stack: Stack) -> list[str]:
    """Return the variables of this environment that lead flows elsewhere than to these servers."""
    own = {f"{stack.prefect.url}/api", stack.mlflow.url, stack.database}
    names = ("PREFECT_API_URL", "FLOWML_TRACKING_URI", "MLFLOW_TRACKING_URI")
    return [name for name in names if os.environ.get(name) and os.environ[name] not in own]


def _server(stack: Stack, server: Server) -> dict[str, Any]:
    if not server.is_alive():
        how = "dead"
    elif health.answers(server):
        how = "running" if stack.ready else "starting"
    else:
        how = "not answering" if stack.ready else "starting"
    return {"url": server.url, "pid": server.process.pid, "state": how, "log": server.log}
