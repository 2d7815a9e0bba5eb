"""Has MLflow imported before an outermost flow or task begins, in the thread that calls it.

Seconds of imports are then in nobody's duration, and the first task does not wait for them. Where Prefect starts a
temporary server, which takes seconds of another process, they pass meanwhile. No other thread imports anything.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from prefect.settings import get_current_settings

from flowml.capture import event_loop
from flowml.capture.session import current
from flowml.options import Track
from flowml.patches import wrapped
from flowml.patches.prefect import RUN_SERVER

_here = threading.local()  # Prefect's own threads start the server, too


@contextmanager
def loaded(track: Track | None) -> Iterator[None]:
    """Import what tracking a call inside needs: now, or while the server that it needs starts."""
    if track is None or current() is not None or getattr(_here, "track", None) is not None:
        yield
        return
    its = get_current_settings()
    if its.api.url or not its.server.ephemeral.enabled:
        event_loop.load_ahead(track)
        yield
        return
    _here.track = track
    try:
        yield
    finally:
        _here.track = None


def _run_server(run: Any, server: Any, args: Any, kwargs: Any) -> Any:
    """Import while the process of the server starts, which this thread would wait for."""
    process = run(*args, **kwargs)
    track, _here.track = getattr(_here, "track", None), None
    try:
        event_loop.load_ahead(track)
    except BaseException:  # Ctrl-C: as if it came while Prefect waits, so that the server is stopped with this process
        server.server_process = process
        atexit.register(server.stop)
        raise
    return process


_WRAPPERS = {RUN_SERVER.module: {RUN_SERVER.name: _run_server}}


@cache
def listen() -> None:
    """Wrap Prefect's method: now, or when Prefect loads it."""
    wrapped.wrap(_WRAPPERS, use=RUN_SERVER.use, without=RUN_SERVER.without)
