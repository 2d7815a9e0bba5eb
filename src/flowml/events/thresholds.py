"""What deployments ask flowml to look out for, read from their automations: the one place where it is declared."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from flowml import faults
from flowml.events import vocabulary
from flowml.events.emitting import noted_settings

FRESH = 10.0
"""Seconds for which what was read holds."""

_PATIENCE = 3.0  # seconds to wait for Prefect's API: the end of a process may wait for it
_PAGE = 200
_logger = logging.getLogger(__name__)

_read: dict[str, tuple[float, tuple[Asked, ...]]] = {}  # by the address of the API


@dataclass(frozen=True, slots=True)
class Asked:
    """What one automation asks for.

    Attributes:
        event: The event that it waits for.
        labels: The labels that the event must have.
    """

    event: str
    labels: Mapping[str, str]


def asked_for(events: Collection[str]) -> list[Asked]:
    """Return what deployments ask for of these events, as it was at most `FRESH` seconds ago.

    Where Prefect does not answer, it is what was read last; where it has no server, nothing is asked for.
    """
    with noted_settings() as api:
        if api is None:
            return []
        when, thresholds = _read.get(api, (0.0, ()))
        if time.monotonic() - when > FRESH or not when:
            now = _read_patiently()
            if now is not None:
                _read[api] = (time.monotonic(), now)
                thresholds = now
    return [one for one in thresholds if one.event in events]


def forget() -> None:
    """Read anew the next time."""
    _read.clear()


def _read_patiently() -> tuple[Asked, ...] | None:
    """Read in a thread that need not be waited for: Prefect's client asks a server that is down again and again.

    Returns:
        What is asked for; None if Prefect did not say.
    """
    from contextvars import copy_context

    answers: SimpleQueue[tuple[Asked, ...] | None] = SimpleQueue()
    here = copy_context()

    def ask() -> None:
        try:
            answers.put(here.run(read))
        except Exception as error:  # noqa: BLE001 - of Prefect's client, or flowml's own
            faults.tell("read what deployments ask for", error, _logger)
            answers.put(None)

    threading.Thread(target=ask, name="flowml-limits", daemon=True).start()
    try:
        return answers.get(timeout=_PATIENCE)
    except Empty:
        return None


def read() -> tuple[Asked, ...]:
    """Read what is asked for now.

    Raises:
        Exception: Whatever Prefect's client raises when it cannot be reached.
    """
    return tuple(_from_automations())


def _from_automations() -> Iterator[Asked]:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    # Without TLS no authorities are needed: to load them takes ten times as long as to ask.
    plain = str(PREFECT_API_URL.value()).startswith("http://")
    options = {"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)} if plain else None
    with get_client(sync_client=True, httpx_settings=options) as client:
        offset = 0
        while page := client.read_automations(limit=_PAGE, offset=offset):
            for automation in page:
                if automation.enabled:
                    yield from _from_trigger(automation.trigger)
            offset += _PAGE
            if len(page) < _PAGE:
                return


def _from_trigger(trigger: Any) -> Iterator[Asked]:
    for inner in getattr(trigger, "triggers", ()):
        yield from _from_trigger(inner)
    match = getattr(trigger, "match", None)
    labels = {key: values[0] for key, values in match.items() if values} if match else {}
    for event in getattr(trigger, "expect", ()):
        if event in vocabulary.EVENTS:
            yield Asked(event, labels)
