"""MLflow's active run, made to follow the context.

MLflow keeps the stack of active runs in a thread-local variable. Asyncio tasks share one thread, so plain ``mlflow.*``
calls in two of them would log into each other's runs. Here a stack of our own takes its place wherever a flowml session
is active, in a context variable; everywhere else MLflow's own stack is used, untouched.

Only this file and `autolog` touch private names of MLflow; `_install` checks that they are what it expects.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flowml import records
from flowml.store.autolog import follow_context

if TYPE_CHECKING:
    from mlflow import ActiveRun
    from mlflow.entities import Run as MlflowRun

_here: ContextVar[Stack | None] = ContextVar("flowml_active_runs", default=None)
_owner: ContextVar[object] = ContextVar("flowml_active_runs_owner", default=None)


class Stack:
    """The active runs of one session: its own, and those that the user's code opens on top."""

    def __init__(self, entity: Callable[[], MlflowRun]) -> None:
        self._entity = entity
        self._runs: list[ActiveRun] | None = None

    @property
    def runs(self) -> list[ActiveRun]:
        """The list that MLflow pushes to and pops from."""
        if self._runs is None:
            from mlflow import ActiveRun

            self._runs = [ActiveRun(self._entity())]
        return self._runs

    def close_what_was_left_open(self, status: records.Status) -> None:
        """End the runs which the user's code started and did not end, as MLflow does when a script ends."""
        import mlflow

        left = (self._runs or [])[1:]
        if left:
            with activated(self):
                for _ in left:
                    mlflow.end_run(status)


@contextmanager
def activated(stack: Stack, owner: object = None) -> Iterator[None]:
    """Make this session's stack the one that ``mlflow.*`` sees, in this context only.

    Args:
        stack: The stack.
        owner: What the stack asks for its run; kept for as long as the context is, which threads may carry on.
    """
    if not _install():
        with _pushed(stack):
            yield
        return
    token, kept = _here.set(stack), _owner.set(owner)
    try:
        yield
    finally:
        _owner.reset(kept)
        _here.reset(token)


def users_run() -> MlflowRun | None:
    """Return the run that the user has active outside any flowml session."""
    from mlflow.tracking import fluent

    _ignore_inherited_run_id()
    return None if _here.get() else fluent.active_run()


def flush_traces() -> None:
    """Wait for the traces that MLflow sends by itself, if any: a worker process may be killed right after."""
    if "mlflow.tracing.export.async_export_queue" in sys.modules:
        import mlflow

        mlflow.flush_trace_async_logging()


def is_in_use() -> bool:
    """Tell whether the user has a run active, or an experiment chosen, by MLflow itself."""
    from mlflow.tracking import fluent

    return bool(fluent.active_run() or users_experiment_id())


def users_experiment_id() -> str | None:
    """Return the experiment that the user chose by ``mlflow.set_experiment`` or the environment."""
    from mlflow.tracking import fluent

    return getattr(fluent, "_active_experiment_id", None) or os.environ.get("MLFLOW_EXPERIMENT_ID")


def _ignore_inherited_run_id() -> None:
    """Warn of a run id in the environment: MLflow would resume and rename that run in place of opening one."""
    if run_id := os.environ.pop("MLFLOW_RUN_ID", None):
        logging.getLogger("prefect.flowml").warning(
            "flowml: ignoring MLFLOW_RUN_ID=%s from the environment: MLflow would log everything into that run.", run_id
        )


@lru_cache(maxsize=1)
def _install() -> bool:
    """Put the context-aware stack in place of MLflow's; False, and one warning, if MLflow is not as expected."""
    import mlflow
    from mlflow.tracking import fluent
    from mlflow.tracking.default_experiment import registry

    try:
        from mlflow.tracking.default_experiment.abstract_context import DefaultExperimentProvider
        from mlflow.utils.thread_utils import ThreadLocalVariable

        original = fluent._active_run_stack  # noqa: SLF001
        expected = isinstance(original, ThreadLocalVariable) and original.get() is original.get()
    except (ImportError, AttributeError):
        expected = False
    if not expected:
        logging.getLogger("prefect.flowml").warning(
            "flowml: this version of MLflow keeps its active run in a way flowml does not know. "
            "Plain mlflow.* calls go to the task's run in sync tasks only; flowml.log() works everywhere."
        )
        return False

    class ContextStack(ThreadLocalVariable):
        """MLflow's stack where no session is active, the session's own where one is."""

        def get(self) -> Any:
            stack = _here.get()
            return original.get() if stack is None else stack.runs

        def set(self, value: Any) -> None:
            original.set(value)

        def get_all_thread_values(self) -> Any:
            stack = _here.get()
            return original.get_all_thread_values() if stack is None else {0: stack.runs}

        def reset(self) -> None:
            original.reset()

    class SessionsExperiment(DefaultExperimentProvider):
        """Runs and traces which the user's code opens belong in the session's experiment."""

        def in_context(self) -> bool:
            return _here.get() is not None

        def get_experiment_id(self) -> str | None:
            stack = _here.get()
            return str(stack.runs[0].info.experiment_id) if stack else None

    follow_context()
    mlflow.start_run = fluent.start_run = _nesting(fluent.start_run)
    fluent._active_run_stack = ContextStack(list)  # type: ignore[no-untyped-call] # noqa: SLF001
    registry._default_experiment_provider_registry.register(SessionsExperiment)  # noqa: SLF001
    return True


def _nesting(start_run: Callable[..., Any]) -> Callable[..., Any]:
    """Let ``mlflow.start_run()`` in a task open a run under the task's, as code written without flowml does."""

    @functools.wraps(start_run)
    def start(*args: Any, **kwargs: Any) -> Any:
        stack = _here.get()
        if stack is None:
            return start_run(*args, **kwargs)
        _ignore_inherited_run_id()
        given = inspect.signature(start_run).bind_partial(*args, **kwargs).arguments
        given["nested"] = given.get("nested") or len(stack.runs) == 1
        if not given.get("run_id"):
            # Not the experiment that this process, or its environment, has for runs of its own.
            given["experiment_id"] = given.get("experiment_id") or str(stack.runs[0].info.experiment_id)
        return start_run(**given)

    return start


@contextmanager
def _pushed(stack: Stack) -> Iterator[None]:
    """Push the run to the thread's own stack: right in sync bodies, the only ones where it is safe."""
    import asyncio

    from mlflow.tracking import fluent

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        yield
        return
    runs = fluent._active_run_stack.get()  # noqa: SLF001
    runs.append(stack.runs[0])
    try:
        yield
    finally:
        if stack.runs[0] in runs:
            runs.remove(stack.runs[0])
