"""What deployments ask flowml to look out for, read from their automations: the one place where it is declared."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from flowml.events import names
from flowml.events.emitting import noted_settings

FRESH = 10.0
"""Seconds for which what was read holds."""

_PATIENCE = 3.0  # seconds to wait for Prefect's API: the end of a flow may wait for it
_PAGE = 200

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


def asked(events: Collection[str]) -> list[Asked]:
    """Return what deployments ask for of these events, as it was at most `FRESH` seconds ago.

    Where Prefect has no server, or does not answer, nothing is asked for.
    """
    with noted_settings() as api:
        if api is None:
            return []
        when, found = _read.get(api, (0.0, ()))
        if time.monotonic() - when > FRESH or not when:
            found = _read_patiently()
            _read[api] = (time.monotonic(), found)
    return [one for one in found if one.event in events]


def forget() -> None:
    """Read anew the next time."""
    _read.clear()


def _read_patiently() -> tuple[Asked, ...]:
    """Read in a thread that need not be waited for: Prefect's client asks a server that is down again and again."""
    from contextvars import copy_context

    answers: SimpleQueue[tuple[Asked, ...]] = SimpleQueue()
    here = copy_context()
    threading.Thread(target=lambda: answers.put(here.run(read)), name="flowml-limits", daemon=True).start()
    try:
        return answers.get(timeout=_PATIENCE)
    except Empty:
        return ()


def read(*, strict: bool = False) -> tuple[Asked, ...]:
    """Read what is asked for now.

    Args:
        strict: Raise what goes wrong; else nothing is asked for.
    """
    try:
        return tuple(_from_automations())
    except Exception:
        if strict:
            raise
        return ()


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
        if event in names.EVENTS:
            yield Asked(event, labels)
