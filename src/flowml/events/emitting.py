"""Hands events to Prefect: in the background from a flow's process, and waited for where somebody has to know."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from flowml import faults, settings
from flowml.errors import SettingsError
from flowml.events.vocabulary import Event

if TYPE_CHECKING:
    from prefect.context import SettingsContext

_logger = logging.getLogger(__name__)
_noted: SettingsContext | None = None


def note_settings() -> None:
    """Note which Prefect is in force here, for the sender's thread, which has no context of the flow's."""
    global _noted  # noqa: PLW0603 - the one place that holds it
    from prefect.context import SettingsContext

    _noted = SettingsContext.get()


@contextmanager
def noted_settings() -> Iterator[str | None]:
    """Use the settings of Prefect that were noted.

    Yields:
        The address of its API; None where it has only a temporary server, which starts nothing on events.
    """
    from prefect.settings import PREFECT_API_URL

    if _noted is None:
        yield PREFECT_API_URL.value()
        return
    with _noted.model_copy():
        yield PREFECT_API_URL.value()


def is_on() -> bool:
    """Tell whether events are wanted, and can be told still: a process that ends starts nothing any more."""
    try:
        return settings.current().events and threading.main_thread().is_alive()
    except SettingsError:
        return False


def emit(event: Event) -> None:
    """Hand an event to Prefect, which sends it in the background; nothing where Prefect has no server."""
    if not is_on():
        return
    with noted_settings() as api:
        if api is None:
            return
        from prefect.events import emit_event

        try:
            emit_event(event.name, **_arguments(event))
        except Exception as error:  # noqa: BLE001 - of Prefect's client, or flowml's own
            faults.tell(f"tell of {event.name}", error, _logger)


async def deliver(event: Event) -> None:
    """Send an event and wait until Prefect's server has it.

    Raises:
        Exception: Whatever Prefect's client raises when it cannot be reached.
    """
    from prefect.events import Event as PrefectEvent
    from prefect.events.clients import get_events_client

    made = PrefectEvent(event=event.name, occurred=datetime.now(timezone.utc), **_arguments(event))
    async with get_events_client(reconnection_attempts=1, checkpoint_every=1) as client:
        await client.emit(made)


def _arguments(event: Event) -> dict[str, Any]:
    body: dict[str, Any] = {"resource": dict(event.about), "payload": dict(event.payload)}
    body["related"] = [dict(one) for one in event.related]
    return body | ({"id": event.known_by} if event.known_by else {})
