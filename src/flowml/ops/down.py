"""Stops the project's servers."""

from __future__ import annotations

import dataclasses
from contextlib import suppress

from flowml.stack import processes, state
from flowml.stack.state import Stack


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
        told = state.read()
        if told and told.id == stack.id:
            state.write(dataclasses.replace(stack, ready=False))  # flows find them no more, `up` sees who ended them
    processes.stop([server.process for server in stack.servers], stack.id)
    state.remove(stack)
