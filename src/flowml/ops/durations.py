"""Lengths of time as people write them."""

from __future__ import annotations

import re

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """Return the seconds in a duration such as ``90s``, ``10m``, ``2h`` or ``1d``; a bare number is seconds.

    Raises:
        ValueError: If it is none.

    Example:
        >>> seconds("10m")
        600.0
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", text, re.ASCII)
    if not found:
        msg = f"{text!r} is no duration; write a number and s, m, h or d, such as 90s, 10m, 2h or 1d."
        raise ValueError(msg)
    return float(found[1]) * _SECONDS[found[2]]
