"""What the user's code can ask for while it runs: log something more, see the run."""

from __future__ import annotations

from typing import Any

from flowml import describe, records, store
from flowml.capture.links import publisher
from flowml.capture.session import current


def log(**values: Any) -> None:
    """Log values to the run of the flow or task that is running here, each by its type.

    A number is a metric, text a parameter, a frame a dataset, a figure or a path a file, a fitted estimator a model.
    Outside a tracked call, and where tracking is off, it does nothing.

    Args:
        **values: What to log, by name.

    Example:
        >>> flowml.log(accuracy=0.9, confusion=figure)
    """
    session = current()
    if session is None or session.run is store.NO_RUN:
        return
    with session.guard("log values"):
        session.put(describe.named(values))


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
    with publisher.hurrying():
        store.flush_all(timeout)
