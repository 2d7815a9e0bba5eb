"""The wait for a move that was decided and not made yet."""

from __future__ import annotations

import logging
import time

from flowml.store.backend import requests
from flowml.store.ledger.entries import Entry

_logger = logging.getLogger("prefect.flowml")

_PATIENCE = 10.0  # seconds in which whoever decided it moves the alias
_QUIET = 2.0  # seconds after which a wait is told
_POLL = 0.02


class Wait:
    """The wait for moves that were decided and not made yet.

    Args:
        model: The registered model's name.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._began: dict[int, float] = {}  # by the entries' numbers
        self._told: set[int] = set()

    def goes_on(self, entry: Entry) -> bool:
        """Wait a little; tell whether there is time left, and say in the log what takes so long."""
        requests.hear()
        waited = time.monotonic() - self._began.setdefault(entry.number, time.monotonic())
        if waited >= _PATIENCE:
            return False
        if waited >= _QUIET and entry.number not in self._told:
            self._told.add(entry.number)
            one, to = entry.decision, f"version {entry.decision.version}" if entry.decision.version else "no version"
            _logger.warning(
                "flowml: the move of %s@%s to %s by %s (entry %d of its history) is decided and not made yet. It is "
                "waited for, %.0f s at most; if whoever decided it was killed, it is void then.",
                *(self._model, one.alias, to, one.who, entry.number, _PATIENCE),
            )
        time.sleep(_POLL)
        return True
