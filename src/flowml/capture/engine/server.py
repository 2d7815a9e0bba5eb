"""Points Prefect at the project's local server, where nobody has named another; helps where there is none at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable
from threading import Lock
from types import TracebackType
from typing import TypeVar

from prefect.context import refresh_global_settings_context
from prefect.settings import get_current_settings

from flowml import settings
from flowml.capture import contexts
from flowml.errors import SettingsError
from flowml.stack import state

_VARIABLE = "PREFECT_API_URL"
_PATIENCE = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
_SECONDS = 120  # Prefect's 20 are not enough for the first start, on a busy machine or before Python has compiled it
_NOT_UP = "connect to ephemeral Prefect API server"  # what Prefect says then
_REMEDY = (
    "flowml: Prefect's temporary server did not come up in %s s. Start one that stays with `flowml up`, or give it "
    "longer: %s=300."
)
_logger = logging.getLogger("prefect.flowml")
_lock = Lock()
T = TypeVar("T")
_found: str | None = None


def find() -> None:
    """Let Prefect use the server that ``flowml up`` started in this project, as long as it runs.

    The environment, a profile and prefect.toml come first. What is found is put into the environment, for the
    processes that this one starts. Inside a flow or task nothing changes: it began with one server, and ends with it.
    """
    global _found  # noqa: PLW0603 - the one place that holds it
    if contexts.is_any_left_open():
        return
    try:
        running = state.prefect_api() if settings.current().enabled else None
    except SettingsError:
        return  # said when the flow is tracked
    with _lock:
        if running == _found or get_current_settings().api.url not in {None, _found}:
            return
        if running:
            os.environ[_VARIABLE] = running
        elif os.environ.get(_VARIABLE) == _found:
            del os.environ[_VARIABLE]
        _found = running
        refresh_global_settings_context()


def expect_temporary() -> bool:
    """Give the temporary server that Prefect may start more time; tell whether there is no other server.

    Prefect's own limit stays where somebody has set it. It is in the environment, for processes that this one starts.
    """
    if contexts.is_any_left_open():
        return False  # the run that goes on has one
    now = get_current_settings()
    if now.api.url is not None or not now.server.ephemeral.enabled:
        return False
    if "startup_timeout_seconds" not in now.server.ephemeral.model_fields_set:
        with _lock:
            os.environ[_PATIENCE] = str(_SECONDS)
            refresh_global_settings_context()
    return True


class TemporaryOne:
    """Says in one line what to do where Prefect's temporary server does not come up in the body of the ``with``."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        """Let every error pass as it is."""
        if isinstance(error, RuntimeError) and _NOT_UP in str(error):
            seconds = get_current_settings().server.ephemeral.startup_timeout_seconds
            _logger.error(_REMEDY, seconds, _PATIENCE)

    async def awaited(self, coroutine: Awaitable[T]) -> T:
        """Await what needs the server."""
        with self:
            return await coroutine
