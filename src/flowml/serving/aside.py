"""Does what takes long in a thread of its own: those of the event loop answer requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_thread = ThreadPoolExecutor(1, "flowml-serving")


async def aside(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Wait for a function that runs in the thread for what is not a request."""
    return await asyncio.get_running_loop().run_in_executor(_thread, lambda: function(*args, **kwargs))
