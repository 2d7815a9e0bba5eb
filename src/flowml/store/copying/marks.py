"""The tags that make a copy happen once: where a copy comes from, that it is complete, and what is copied already.

A copy carries the id of what it was made from, from the request that makes it: whoever tries again finds it by that.
The last request for it says that it is complete. What it was made from then notes the copy, so that the next sync asks
the other store nothing. Both say by a digest what was copied: what has changed since is copied again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COPIED_FROM = "flowml.copied_from"
"""On a copy: the id of what it was made from."""

COPIED = "flowml.copied"
"""On a copy that is complete: the digest of what was copied."""

SYNCED = "flowml.synced"
"""On what was copied: the copy, its store, and the digest."""

_OWN = (COPIED_FROM, COPIED, SYNCED)


@dataclass(frozen=True, slots=True)
class Note:
    """What something that was copied notes of its copy.

    Attributes:
        to: The store that the copy is in, without credentials.
        id: The copy's id; of a model's version its number.
        digest: Of what was copied.
    """

    to: str
    id: str
    digest: str

    @classmethod
    def in_tags(cls, tags: Mapping[str, str]) -> Note | None:
        """Read it; None if there is none."""
        try:
            return cls(**json.loads(tags[SYNCED]))
        except (KeyError, ValueError, TypeError):
            return None

    def as_tag(self) -> str:
        """Write it."""
        return json.dumps({"to": self.to, "id": self.id, "digest": self.digest})


def noted(tags: Mapping[str, str], to: str) -> Note | None:
    """Return what is noted of a copy in this store, if one is noted; what was noted of another one tells nothing."""
    note = Note.in_tags(tags)
    return note if note and note.to == to else None


def copy_of(tags: Mapping[str, str], to: str, digest: str) -> str | None:
    """Return the id of the copy of something in a store, if it was copied as it is now: `digest` is of that."""
    note = noted(tags, to)
    return note.id if note and note.digest == digest else None


def is_copied(tags: Mapping[str, str], digest: str, to: str | None = None) -> bool:
    """Tell whether something was copied as it is now, to a store or to any; `digest` is of what it holds now."""
    note = Note.in_tags(tags)
    return note is not None and to in {None, note.to} and note.digest == digest


def without_marks(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that are copied."""
    return {key: value for key, value in tags.items() if key not in _OWN}


def digest(*parts: Any) -> str:
    """Return a short text that differs when one of the parts does."""
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
