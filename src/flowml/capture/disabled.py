"""Turns tracking off for what is called inside."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from flowml import records, store
from flowml.capture.call import Call, Nobody
from flowml.capture.session import Session, made_current

_NO_CALL = records.Identity(name="", kind="flow", owner="", attempt=0, started=0, source=None, tags={}, tag=("", ""))
_OFF = Session(Call(_NO_CALL, {}, {}, None, logging.getLogger("prefect.flowml"), Nobody()), store.NO_RUN)


@contextmanager
def disabled() -> Iterator[None]:
    """Turn tracking off for the flows and tasks that are called inside; they are then exactly Prefect's.

    Example:
        >>> with flowml.disabled():
        ...     training()
    """
    with made_current(_OFF):
        yield
