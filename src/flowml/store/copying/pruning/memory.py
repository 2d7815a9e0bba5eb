"""What was removed from the offline store, and which copy was whose."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from flowml import settings
from flowml.errors import TrackingError


@dataclass
class Memory:
    """What is not in the offline store any more, in a file beside it.

    Attributes:
        ids: The new ids of runs and logged models, by the store of the copies and the old ids: what comes later may
            name them.
        runs: Runs that are marked for removal, and may be left from a prune that was interrupted.
        models: Logged models, likewise.
    """

    ids: dict[str, dict[str, str]] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    @classmethod
    def read(cls) -> Memory:
        """Read it."""
        file = _file()
        try:
            return cls(**json.loads(file.read_text())) if file.exists() else cls()
        except (ValueError, TypeError) as error:
            text = f"{file}, which has the copies of what was removed here, cannot be read: {error}."
            remedy = "Bring it back from a backup, or move it away: links to what was removed stay as they are then."
            raise TrackingError(text, remedy=remedy) from None

    def write(self) -> None:
        """Write it, in one step."""
        new = _file().with_suffix(".new")
        new.write_text(json.dumps(vars(self)))
        new.replace(_file())


def _file() -> Path:
    return settings.home_folder() / "offline-copied.json"
