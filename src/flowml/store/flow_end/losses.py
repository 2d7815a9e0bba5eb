"""What an outermost run lost, and what is late, each told once: in a tag of the run, as a JSON list of texts."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterable, Mapping

from flowml import mlflow_limits
from flowml.locks import RLock

_logger = logging.getLogger(__name__)

TAG = "flowml.tracking_error"
_LONGEST_TEXT = 1000


class Losses:
    """The losses of one outermost run, noted in any thread.

    Args:
        is_elsewhere: Whether another process opened the run: several of them write to it, each a tag of its own.
    """

    def __init__(self, *, is_elsewhere: bool) -> None:
        self.tag = f"{TAG}.{uuid.uuid4().hex[:12]}" if is_elsewhere else TAG
        self._texts: dict[str, None] = {}
        self._late: dict[object, str] = {}  # by whose it is
        self._told = ""
        self._is_unjournaled = False
        self._lock = RLock()

    def add(self, text: str) -> None:
        """Note what is lost, and why."""
        with self._lock:
            self._texts[text] = None

    def say_unjournaled(self, text: str) -> None:
        """Say once that what is logged is in memory only, and why."""
        with self._lock:
            is_news, self._is_unjournaled = not self._is_unjournaled, True
        if is_news:
            _logger.warning("flowml: %s What waits for MLflow is lost with this process.", text)

    def put_off(self, whose: object, text: str) -> None:
        """Note that something of a run is not sent yet, though it has ended, and why."""
        with self._lock:
            self._late[whose] = f"not sent yet: {text}"

    def arrived(self, whose: object) -> None:
        """Note that nothing of a run is late any more."""
        with self._lock:
            self._late.pop(whose, None)

    def texts(self) -> list[str]:
        """Return all of them, those that may pass last."""
        with self._lock:
            return list(dict.fromkeys([*self._texts, *self._late.values()]))

    def untold(self) -> str | None:
        """Return the tag's value if it is not what was told last; empty if there is nothing any more."""
        texts = self.texts()
        value = as_tag(texts) if texts else ""
        return None if value == self._told else value

    def tell(self, value: str) -> None:
        """Note what was told."""
        self._told = value


def as_tag(texts: Iterable[str]) -> str:
    """Write losses as the tag holds them: as many as there is room for, and how many more there are."""
    kept = [text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…" for text in texts]
    whole, value = len(kept), json.dumps(kept, ensure_ascii=False)
    while len(value) > mlflow_limits.TAG:
        kept.pop()
        value = json.dumps([*kept, f"and {whole - len(kept)} more"], ensure_ascii=False)
    return value


def in_tags(tags: Mapping[str, str], *, of_others: bool = False) -> list[str]:
    """Read the losses in a run's tags.

    Args:
        tags: The tags.
        of_others: Leave out those that the run's own process noted.
    """
    found: dict[str, None] = {}
    for key, value in tags.items():
        if key.startswith(f"{TAG}.") or (key == TAG and not of_others):
            found |= dict.fromkeys(_read(value))
    return list(found)


def _read(value: str) -> list[str]:
    try:
        texts = json.loads(value)
    except ValueError:
        texts = value
    return [str(text) for text in texts] if isinstance(texts, list) else [value]  # an older flowml's, or cut
