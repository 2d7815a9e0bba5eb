"""A client of Prefect's API for one background thread, kept while it works: to make one takes longer than its work."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY, PREFECT_API_URL

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_TIMEOUT = 5.0  # seconds


class KeptClient:
    """Opens a client when it is asked for one; only one thread uses it."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._stack = ExitStack()
        self._client: SyncPrefectClient | None = None
        self._made_for: tuple[object, ...] = ()

    def get(self) -> SyncPrefectClient:
        """Return a client for the API that the settings in force here name."""
        if self._pid != os.getpid():
            self.__init__()  # type: ignore[misc] # what was open before a fork is the parent's to close
        wanted = (PREFECT_API_URL.value(), PREFECT_API_KEY.value(), PREFECT_API_AUTH_STRING.value())
        if self._client is None or wanted != self._made_for:
            self.close()
            # Settings of its own: else Prefect gives out the client of the engine, which closes it when it ends.
            made = get_client(httpx_settings={"timeout": _TIMEOUT}, sync_client=True)
            self._client, self._made_for = self._stack.enter_context(made), wanted
        return self._client

    def close(self) -> None:
        """Close the client; the next one asked for is a new one."""
        self._client = None
        stack, self._stack = self._stack, ExitStack()
        stack.close()
