"""Threads of the user's own inside a task: take the task's run along."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import copy_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def carry(fn: Callable[P, R]) -> Callable[P, R]:
    """Make a function that runs in another thread log to the run it was started from.

    A thread that you start yourself knows nothing of the task that started it: MLflow would open a run of its own for
    what is logged there, and Prefect would not know the flow. The returned function runs in a copy of the context in
    which `carry` was called.

    Args:
        fn: What the thread is to do.

    Returns:
        A function of the same arguments, which any number of threads may call at the same time.

    Example:
        >>> with ThreadPoolExecutor() as pool:
        ...     scores = list(pool.map(flowml.carry(score), folds))
    """
    here = copy_context()

    @functools.wraps(fn)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        return here.copy().run(fn, *args, **kwargs)

    return carried
