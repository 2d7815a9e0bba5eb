"""What the user's code can ask for while it runs: log something more, see the run."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

from flowml import describe, records, settings, store
from flowml.capture.links.artifacts import PATIENCE, keeper, publisher
from flowml.capture.session import Session, current


def log(**values: Any) -> None:
    """Log values to the run of the flow or task that is running here, each by its type.

    A number is a metric, text a parameter, a frame a dataset, a figure or a path a file, a fitted classifier a model.
    Outside a tracked call, and where tracking is off, it does nothing.

    Args:
        **values: What to log, by name.

    Example:
        >>> flowml.log(accuracy=0.9, confusion=figure)
    """
    if (session := _tracked()) is not None:
        with session.guard("log values"):
            wanted = settings.current()
            found = describe.named(
                values, models=wanted.models, model_params=wanted.model_params, hidden=session.hidden
            )
            session.put(found)


def log_params(params: Mapping[str, Any] | None = None, **more: Any) -> None:
    """Log parameters that are known only here to the run of the flow or task that is running, under their own names.

    Nested mappings are joined by dots: ``{"net": {"depth": 3}}`` is ``net.depth``. Outside a tracked call, and where
    tracking is off, it does nothing. What cannot be logged is named in a warning; the rest is logged.

    Args:
        params: Each value by its name, or a configuration with fields.
        **more: More of them.

    Example:
        >>> flowml.log_params(study.best_params, n_trials=50)
    """
    if (session := _tracked()) is not None:
        for values in (params, more):
            if values is not None:
                with session.guard("log parameters"):
                    _put(session, describe.named_params(values, session.hidden))


def log_metrics(metrics: Mapping[str, Any] | None = None, step: int | None = None, **more: Any) -> None:
    """Log numbers as metrics to the run of the flow or task that is running, under their own names.

    Nested mappings are joined by dots. Outside a tracked call, and where tracking is off, it does nothing. What is no
    number is named in a warning; the rest is logged.

    Args:
        metrics: Each number by its name.
        step: Their step. Default: 0.
        **more: More of them.

    Example:
        >>> for epoch in range(10):
        ...     flowml.log_metrics({"loss": losses[epoch]}, step=epoch)
    """
    if (session := _tracked()) is not None:
        for values in (metrics, more):
            if values is not None:
                with session.guard("log metrics"):
                    _put(session, describe.named_metrics(values, step, session.hidden))


def _tracked() -> Session | None:
    """Return the session that logs here, if any."""
    session = current()
    return None if session is None or session.run is store.NO_RUN else session


def _put(session: Session, described: tuple[list[records.Record], Mapping[str, str]]) -> None:
    """Log what there is, and say of each wrong value what is wrong."""
    logged, wrong = described
    session.put(logged)
    for what, why in wrong.items():
        session.lost(f"log {what}", why)


def current_run() -> records.CurrentRun | None:
    """Return the MLflow run of the flow or task that is running here.

    Returns:
        The run; None outside a tracked call, and where tracking is off.

    Example:
        >>> flowml.current_run().run_id
        'f3c1…'
    """
    session = current()
    if session is None:
        return None
    with session.guard("tell of the run"):
        return session.run.info
    return None


def flush(timeout: float | None = None) -> None:
    """Wait until all that was logged until now is in MLflow.

    The outermost flow does so by itself when it ends. Call it where another program is to see something earlier.
    The links that Prefect shows are written meanwhile.

    Args:
        timeout: Seconds to wait. Default: ten times the setting ``timeout``, for files take long.

    Raises:
        TrackingError: If something is not there yet; it is still sent when MLflow takes it.

    Example:
        >>> flowml.log(rmse=0.2)
        >>> flowml.flush()
    """
    with publisher.publishing_now():
        store.flush_all(timeout)
    keeper.wait(PATIENCE)


P = ParamSpec("P")
R = TypeVar("R")


def with_context(fn: Callable[P, R]) -> Callable[P, R]:
    """Make a function that runs in another thread log to the run it was started from.

    A thread that you start yourself knows nothing of the task that started it: MLflow would open a run of its own for
    what is logged there, and Prefect would not know the flow. The returned function runs in a copy of the context in
    which `with_context` was called.

    Args:
        fn: What the thread is to do.

    Returns:
        A function of the same arguments, which any number of threads may call at the same time.

    Example:
        >>> with ThreadPoolExecutor() as pool:
        ...     scores = list(pool.map(flowml.with_context(score), folds))
    """
    here = copy_context()

    @functools.wraps(fn)
    def in_context(*args: P.args, **kwargs: P.kwargs) -> R:
        return here.copy().run(fn, *args, **kwargs)

    return in_context


def carry(fn: Callable[P, R]) -> Callable[P, R]:
    """Make a function run in this context; the old name of `with_context`, which goes with the next release."""
    warnings.warn("flowml.carry is now flowml.with_context.", DeprecationWarning, stacklevel=2)
    return with_context(fn)
