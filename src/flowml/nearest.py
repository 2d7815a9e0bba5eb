"""The name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def close(name: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return the known names that are near, the nearest first, whatever their case; of a path its end may be meant.

    Example:
        >>> close("Nightli", ["training/nightly", "hourly"])
        ['training/nightly']
    """
    there = list(known)
    forms = {one.rpartition("/")[2].lower(): one for one in there} | {one.lower(): one for one in there}
    found = difflib.get_close_matches(name.lower(), forms, n=2 * most, cutoff=cutoff)  # each has two forms
    return list(dict.fromkeys(forms[form] for form in found))[:most]


def did_you_mean(name: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> str:
    """Return a question as a sentence of its own, or nothing when no name is near.

    Example:
        >>> did_you_mean("nightli", ["nightly", "hourly"])
        "Did you mean 'nightly'?"
    """
    found = close(name, known, most=most, cutoff=cutoff)
    return f"Did you mean {' or '.join(map(repr, found))}?" if found else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the question in brackets, to follow the name, or nothing when no name is near.

    Example:
        >>> nearest("nightli", ["nightly", "hourly"])
        " (did you mean 'nightly'?)"
    """
    found = close(name, known)
    return f" (did you mean {found[0]!r}?)" if found else ""


def nearest_or_some(name: str, known: Iterable[str], most: int = 5) -> str:
    """Return the end of a message: the names that may have been meant, or else some of those that there are.

    Example:
        >>> nearest_or_some("weekly", ["a", "b"])
        "There are 'a', 'b'."
    """
    there = list(known)
    if asked := did_you_mean(name, there, most=2):
        return asked
    some = ", ".join(map(repr, there[:most]))
    return f"There {'is' if len(there) == 1 else 'are'} {some}{', …' if len(there) > most else ''}." if there else ""


def listed(known: Iterable[str], most: int = 10) -> str:
    """Return names as a list in a sentence, cut where it gets long.

    Example:
        >>> listed(["b", "a"])
        'a, b'
    """
    there = sorted(known)
    return ", ".join([*there[:most], *(["…"] if len(there) > most else [])]) or "none"
