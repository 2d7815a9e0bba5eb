"""Points Prefect at the project's local server, where nobody has named another; helps where none can be used."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable
from types import TracebackType
from typing import TypeVar

from prefect.context import refresh_global_settings_context
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from flowml import settings
from flowml.capture import contexts
from flowml.errors import SettingsError
from flowml.locks import RLock
from flowml.secrets.uris import without_credentials
from flowml.stack import state

_VARIABLE = "PREFECT_API_URL"
_PATIENCE = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
_TELEMETRY = "PREFECT_SERVER_ANALYTICS_ENABLED"
_SECONDS = 120  # Prefect's 20 are not enough for the first start, on a busy machine or before Python has compiled it
_NOT_UP = "connect to ephemeral Prefect API server"  # what Prefect says then
_NOT_UP_REMEDY = (
    "flowml: Prefect's temporary server did not come up in %s s. Start one that stays with `flowml up`, or give it "
    "longer: %s=300."
)
_REFUSED = "401 Unauthorized"
_LOGIN_REMEDY = (
    "Prefect's API at {} does not accept this login. Set PREFECT_API_AUTH_STRING to what its server was started with, "
    "or PREFECT_API_KEY to a key of Prefect Cloud."
)
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
_TRUST_REMEDY = (
    "The certificate of Prefect's API at {} is not trusted here. Set PREFECT_API_SSL_CERT_FILE to the file with the "
    "certificate of your authority."
)
_logger = logging.getLogger("prefect.flowml")
_lock = RLock()
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

    Its telemetry is off: in the seconds that such a server lives, its first beat often finds the database locked, or
    no way out of the machine, and prints that between the user's lines. What somebody has set of either stays. Both are
    in the environment, for processes that this one starts.
    """
    if contexts.is_any_left_open():
        return False  # the run that goes on has one
    now = get_current_settings()
    if now.api.url is not None or not now.server.ephemeral.enabled:
        return False
    ours = {}
    if "startup_timeout_seconds" not in now.server.ephemeral.model_fields_set:
        ours[_PATIENCE] = str(_SECONDS)
    if "analytics_enabled" not in now.server.model_fields_set:
        ours[_TELEMETRY] = "false"
    if ours:
        with _lock:
            os.environ.update(ours)
            refresh_global_settings_context()
    return True


def closed(url: str, error: BaseException) -> str | None:
    """Say what to do where a server does not let this process in; None where an error is of something else."""
    said = f"{error} {error.__cause__ or error.__context__}"
    remedy = _LOGIN_REMEDY if _REFUSED in said else _TRUST_REMEDY if _UNTRUSTED in said else None
    return remedy.format(without_credentials(url)) if remedy else None


class Explained:
    """Says in one line what to do where Prefect's server cannot be used in the body of the ``with``."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        """Let every error pass as it is."""
        if not isinstance(error, RuntimeError | PrefectHTTPStatusError) or contexts.is_any_left_open():
            return
        now = get_current_settings()
        if _NOT_UP in str(error):
            _logger.error(_NOT_UP_REMEDY, now.server.ephemeral.startup_timeout_seconds, _PATIENCE)
        elif now.api.url and (text := closed(now.api.url, error)):
            _logger.error("flowml: %s", text)

    async def awaited(self, coroutine: Awaitable[T]) -> T:
        """Await what needs the server."""
        with self:
            return await coroutine
