"""Turns tracking off for what is called inside."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from flowml import records, store
from flowml.capture.call import Call
from flowml.capture.session import Session, made_current

_OFF = Session(
    Call(
        records.Identity(name="", kind="flow", owner="", attempt=0, started=0, source=None, tags={}, tag=("", "")),
        arguments={},
        hints={},
        track=None,
        log=logging.getLogger("prefect.flowml"),
        failure=lambda _: None,
        is_pause=lambda _: False,
        watch=lambda: None,
        find_caller=lambda: None,
        announce=lambda _: None,
        keep=None,
        publish=lambda _: None,
        published=lambda: None,
        hurry=nullcontext,
    ),
    store.NO_RUN,
)


@contextmanager
def disabled() -> Iterator[None]:
    """Turn tracking off for the flows and tasks that are called inside; they are then exactly Prefect's.

    Example:
        >>> with flowml.disabled():
        ...     training()
    """
    with made_current(_OFF):
        yield
