"""Does what takes long in threads of its own: those of the versions answer requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from flowml.serving.threads import Threads

P = ParamSpec("P")
R = TypeVar("R")

_threads = Threads("flowml-serving")


async def aside(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Wait for a function that runs in a thread for what is not a request."""
    return await asyncio.wrap_future(_threads.submit(function, *args, **kwargs))
