"""Stops the project's servers."""

from __future__ import annotations

import dataclasses
import os
from contextlib import suppress
from typing import Any

from flowml.ops.sync.waiting import waiting
from flowml.secrets import mask
from flowml.stack import health, processes, served, state
from flowml.stack.state import Server, Stack


def down() -> list[Server]:
    """Stop the project's servers, and all that they started, also if some have died; and those that serve models.

    Returns:
        What was there.
    """
    stack, serving = state.read(), served.read()
    served.stop(serving)
    if stack is not None:
        stop(stack)
    return [*(stack.servers if stack else ()), *(each.server for each in serving)]


def stop(stack: Stack) -> None:
    """Stop these servers and forget them."""
    with suppress(OSError):  # a full disk keeps nothing running
        stored = state.read()
        if stored and stored.id == stack.id:
            state.write(dataclasses.replace(stack, ready=False))  # flows find them no more, `up` sees who ended them
    processes.stop([server.process for server in stack.servers], stack.id)
    state.remove(stack)


def status() -> dict[str, Any]:
    """Return how the project's servers are, as plain data.

    Returns:
        ``running``, whether both run and answer; for each server ``url``, ``pid``, ``state`` and ``log``; where
        flows write to; ``serving``, the registered models that are served, with the same; and ``offline``, what was
        tracked offline, if there is such a store.
    """
    stack, there = state.read(), waiting()
    more: dict[str, Any] = {"offline": there.as_json()} if there else {}
    more["serving"] = {each.server.name: _serving(each.server) for each in served.read()}
    if stack is None:
        return {"running": False, "stack": str(state.path()), "servers": {}, **more}
    servers = {server.name: _server(stack, server) for server in stack.servers}
    return {
        "running": all(server["state"] == "running" for server in servers.values()),
        "stack": str(state.path()),
        "servers": servers,
        "tracking_uri": mask(stack.database),
        "export": f"export PREFECT_API_URL={stack.prefect.url}/api",
        **more,
    }


def overruled(stack: Stack) -> list[str]:
    """Return the variables of this environment that lead flows elsewhere than to these servers."""
    own = {f"{stack.prefect.url}/api", stack.mlflow.url, stack.database}
    names = ("PREFECT_API_URL", "FLOWML_TRACKING_URI", "MLFLOW_TRACKING_URI")
    return [name for name in names if os.environ.get(name) and os.environ[name] not in own]


def _serving(server: Server) -> dict[str, Any]:
    how = "running" if health.answers(server) else "not answering"
    return {"url": server.url, "pid": server.process.pid, "state": how, "log": server.log}


def _server(stack: Stack, server: Server) -> dict[str, Any]:
    if not server.is_alive():
        how = "dead"
    elif health.answers(server):
        how = "running" if stack.ready else "starting"
    else:
        how = "not answering" if stack.ready else "starting"
    return {"url": server.url, "pid": server.process.pid, "state": how, "log": server.log}
