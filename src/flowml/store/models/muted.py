"""Mutes MLflow's advice while flowml saves a model: it speaks of choices that flowml made, not the user."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Iterator

_ADVISERS = (
    *("mlflow.sklearn", "mlflow.lightgbm", "mlflow.pyfunc", "mlflow.pytorch", "mlflow.tensorflow"),
    *("mlflow.transformers", "mlflow.models.signature", "mlflow.models.utils", "mlflow.types.utils"),
    # A module that cannot be traced is told of once, by flowml.
    *("torch.__trace", "torch.fx.experimental.symbolic_shapes", "torch._export.non_strict_utils"),
)
_here = threading.local()


class _MuteThisThread(logging.Filter):
    """Drops a record below ERROR while its thread is inside `mlflow_muted`; other threads log as ever."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or not getattr(_here, "muted", False)


@functools.cache
def _install() -> None:
    for name in _ADVISERS:
        logging.getLogger(name).addFilter(_MuteThisThread())


@contextlib.contextmanager
def mlflow_muted() -> Iterator[None]:
    """Mute MLflow's advice in this thread only, so that no other thread's messages are lost."""
    _install()
    before = getattr(_here, "muted", False)
    _here.muted = True
    try:
        yield
    finally:
        _here.muted = before
