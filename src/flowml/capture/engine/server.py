"""Points Prefect at the project's local server, where nobody has named another."""

from __future__ import annotations

import os
from threading import Lock

from prefect.context import refresh_global_settings_context
from prefect.settings import get_current_settings

from flowml import settings
from flowml.capture import contexts
from flowml.errors import SettingsError
from flowml.stack import state

_VARIABLE = "PREFECT_API_URL"
_lock = Lock()
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
