"""Stops the project's servers."""

from __future__ import annotations

import dataclasses
import os
from contextlib import suppress
from typing import Any

from flowml.ops.sync.waiting import waiting
from flowml.secrets import mask
from flowml.stack import health, processes, state
from flowml.stack.state import Server, Stack


def down() -> Stack | None:
    """Stop the project's servers, and all that they started, also if some have died.

    Returns:
        What was there; None if nothing was.
    """
    stack = state.read()
    if stack is not None:
        stop(stack)
    return stack


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
        flows write to; and ``offline``, what was tracked offline, if there is such a store.
    """
    stack, there = state.read(), waiting()
    offline = {"offline": there.as_json()} if there else {}
    if stack is None:
        return {"running": False, "stack": str(state.path()), "servers": {}, **offline}
    servers = {server.name: _server(stack, server) for server in stack.servers}
    return {
        "running": all(server["state"] == "running" for server in servers.values()),
        "stack": str(state.path()),
        "servers": servers,
        "tracking_uri": mask(stack.database),
        "export": f"export PREFECT_API_URL={stack.prefect.url}/api",
        **offline,
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
