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

# Asked for the runs only when ``mlflow.*`` is called: most tasks never do.
_here: ContextVar[Callable[[], list[ActiveRun]] | None] = ContextVar("flowml_active_runs", default=None)


class Stack:
    """The active runs of one session: its own, and those that the user's code opens on top.

    It does not know its session's run, which holds it: each task would leave a cycle to the garbage collector, and
    with MLflow imported that stops all threads for half a second.
    """

    def __init__(self) -> None:
        self._runs: list[ActiveRun] | None = None

    def runs(self, entity: Callable[[], MlflowRun]) -> list[ActiveRun]:
        """Return the list that MLflow pushes to and pops from.

        Args:
            entity: Asked for the session's own run, the first time.
        """
        if self._runs is None:
            from mlflow import ActiveRun

            self._runs = [ActiveRun(entity())]
        return self._runs

    def close_what_was_left_open(self, status: records.Status) -> None:
        """End the runs which the user's code started and did not end, as MLflow does when a script ends."""
        import mlflow

        runs = self._runs or []
        if left := runs[1:]:
            with activated(lambda: runs):
                for _ in left:
                    mlflow.end_run(status)


@contextmanager
def activated(runs: Callable[[], list[ActiveRun]]) -> Iterator[None]:
    """Make a session's runs those that ``mlflow.*`` sees, in this context only.

    Args:
        runs: Asked for them when they are needed; kept for as long as the context is, which threads may carry on.
    """
    if not _install():
        with _pushed(runs):
            yield
        return
    token = _here.set(runs)
    try:
        yield
    finally:
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
            runs = _here.get()
            return original.get() if runs is None else runs()

        def set(self, value: Any) -> None:
            original.set(value)

        def get_all_thread_values(self) -> Any:
            runs = _here.get()
            return original.get_all_thread_values() if runs is None else {0: runs()}

        def reset(self) -> None:
            original.reset()

    class SessionsExperiment(DefaultExperimentProvider):
        """Runs and traces which the user's code opens belong in the session's experiment."""

        def in_context(self) -> bool:
            return _here.get() is not None

        def get_experiment_id(self) -> str | None:
            runs = _here.get()
            return str(runs()[0].info.experiment_id) if runs else None

    follow_context()
    mlflow.start_run = fluent.start_run = _nesting(fluent.start_run)
    fluent._active_run_stack = ContextStack(list)  # type: ignore[no-untyped-call] # noqa: SLF001
    registry._default_experiment_provider_registry.register(SessionsExperiment)  # noqa: SLF001
    return True


def _nesting(start_run: Callable[..., Any]) -> Callable[..., Any]:
    """Let ``mlflow.start_run()`` in a task open a run under the task's, as code written without flowml does."""

    @functools.wraps(start_run)
    def start(*args: Any, **kwargs: Any) -> Any:
        runs = _here.get()
        if runs is None:
            return start_run(*args, **kwargs)
        _ignore_inherited_run_id()
        given = inspect.signature(start_run).bind_partial(*args, **kwargs).arguments
        given["nested"] = given.get("nested") or len(runs()) == 1
        if not given.get("run_id"):
            # Not the experiment that this process, or its environment, has for runs of its own.
            given["experiment_id"] = given.get("experiment_id") or str(runs()[0].info.experiment_id)
        return start_run(**given)

    return start


@contextmanager
def _pushed(mine: Callable[[], list[ActiveRun]]) -> Iterator[None]:
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
    run, runs = mine()[0], fluent._active_run_stack.get()  # noqa: SLF001
    runs.append(run)
    try:
        yield
    finally:
        if run in runs:
            runs.remove(run)
