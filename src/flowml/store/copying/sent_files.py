"""Which large files were sent, as they were: their size does not tell, for a checkpoint may keep it."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from flowml import settings


class SentFiles:
    """The large files that were sent to a store, in a file beside the offline one.

    Args:
        to: The store, without credentials.
    """

    def __init__(self, to: str) -> None:
        self._to = to

    def has(self, name: str, size: int, changed: int) -> bool:
        """Tell whether a file was sent as it is.

        Args:
            name: Where it is.
            size: Its bytes.
            changed: When it was last changed, in nanoseconds since 1970; 0 where nobody knows.
        """
        return (self._to, name, size, changed) in self._known

    def note(self, name: str, size: int, changed: int) -> None:
        """Note that a file was sent; where that cannot be written it is sent again, which changes nothing."""
        with suppress(OSError), _file().open("a", encoding="utf-8") as file:
            file.write(json.dumps([self._to, name, size, changed]) + "\n")

    @cached_property
    def _known(self) -> set[tuple[str, str, int, int]]:
        try:
            lines = _file().read_text("utf-8", "replace").splitlines()
        except OSError:
            return set()
        found = set()
        for line in lines:
            with suppress(ValueError, TypeError):  # one that was not written whole
                to, name, size, changed = json.loads(line)
                found.add((to, name, size, changed))
        return found


def _file() -> Path:
    return settings.home_folder() / "offline-sent.jsonl"
