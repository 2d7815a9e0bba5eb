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


def text(length: float) -> str:
    """Return some seconds as people read them.

    Example:
        >>> text(0.1234), text(75), text(7500)
        ('0.12s', '1m15s', '2h05m')
    """
    if length < 60:  # noqa: PLR2004 - a minute
        return f"{length:.2f}s"
    minutes, left = divmod(round(length), 60)
    return f"{minutes}m{left:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"  # noqa: PLR2004 - an hour
