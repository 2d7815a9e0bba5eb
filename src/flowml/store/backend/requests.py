"""Each call to a server by flowml's threads: it looks for no modules, is not tried for minutes, and is heard of."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from flowml.patches.mlflow import REQUEST_SESSION
from flowml.patches.wrapped import wrap

_RETRIES = 0  # of one call: when a run was made and the answer lost, a second try would make another
_TALKERS = ("urllib3.connectionpool", "mlflow.store.db.utils")  # a line for each try, or a page of traceback
_OF_DATABRICKS = "mlflow.tracking.request_header.databricks_request_header_provider"

_hears: ContextVar[Callable[[], None]] = ContextVar("flowml_hears_of_answers", default=lambda: None)


@contextmanager
def heard(tell: Callable[[], None]) -> Iterator[None]:
    """Tell it, again and again, that MLflow answers while code in this block asks it for much, or waits for others."""
    token = _hears.set(tell)
    try:
        yield
    finally:
        _hears.reset(token)


def hear() -> None:
    """Tell whoever wants to hear of it that MLflow answers."""
    _hears.get()()


@cache
def install() -> None:
    """Leave trying again to flowml's sender, and look for Databricks only where it can be."""
    wrap(
        {_OF_DATABRICKS: {"DatabricksRequestHeaderProvider.in_context": _is_in_databricks}},
        use="looks for Databricks only where it can be",
        without="each request to an MLflow server takes longer",
    )
    for name in _TALKERS:
        logging.getLogger(name).addFilter(_is_elsewhere)
    plain = REQUEST_SESSION.get()
    if plain is None:
        return

    def limited(max_retries: int, *args: Any, **kwargs: Any) -> Any:
        # MLflow's client sends a call that fails eight times, with four minutes of pauses. The sender tries again by
        # itself, looks first what is there already, and meanwhile has other runs to send.
        if threading.current_thread().name.startswith("flowml-"):
            max_retries = _RETRIES
            hear()  # the call before it was answered
        return plain(max_retries, *args, **kwargs)

    REQUEST_SESSION.replace(limited)


def _is_elsewhere(record: logging.LogRecord) -> bool:
    """Tell whether another thread writes: of a call that flowml sends again, it says itself what failed, and once."""
    is_ours = (record.threadName or "").startswith("flowml-")
    return not is_ours or record.levelno < logging.WARNING


def _is_in_databricks(wrapped: Any, _: Any, args: Any, kwargs: Any) -> bool:
    """Tell whether a call is made in Databricks: MLflow tries eleven imports for it at each call.

    A thread of flowml's is not to import anything while the user's code may be importing.
    """
    may_be = "DATABRICKS_RUNTIME_VERSION" in os.environ or not sys.modules.keys().isdisjoint({"dbruntime", "pyspark"})
    return may_be and bool(wrapped(*args, **kwargs))
