"""The name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean ...?)``, or nothing when no name is near.

    Example:
        >>> nearest("nightli", ["nightly", "hourly"])
        " (did you mean 'nightly'?)"
    """
    there = list(known)
    forms = {one.rpartition("/")[2].lower(): one for one in there} | {one.lower(): one for one in there}
    found = difflib.get_close_matches(name.lower(), forms, n=1, cutoff=0.6)
    return f" (did you mean {forms[found[0]]!r}?)" if found else ""


def listed(known: Iterable[str], most: int = 10) -> str:
    """Return names as a list in a sentence, cut where it gets long.

    Example:
        >>> listed(["b", "a"])
        'a, b'
    """
    there = sorted(known)
    return ", ".join([*there[:most], *(["…"] if len(there) > most else [])]) or "none"
