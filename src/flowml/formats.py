"""How things are written for people: lengths of time, numbers, sizes, and Markdown for the pages of both UIs.

In Markdown names of any kind are shown as they are, and can break or smuggle in nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_MINUTE, _HOUR = 60, 60  # in seconds, in minutes

_ENTITIES = {character: f"&#{ord(character)};" for character in "\\`*[]<>|~#@:!$"} | {"&": "&amp;"}
_SPECIAL = re.compile("[" + re.escape("".join(_ENTITIES)) + "]")
_OUTER_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_NOT_IN_LINKS = str.maketrans({character: f"%{ord(character):02X}" for character in " ()<>[]|\"'`\\*\n\r\t"})


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


def interval(length: float) -> str:
    """Return some seconds as `seconds` reads them, in the longest unit that makes a whole number.

    Example:
        >>> interval(900), interval(90)
        ('15m', '90s')
    """
    for unit in ("d", "h", "m"):
        if length >= _SECONDS[unit] and length % _SECONDS[unit] == 0:
            return f"{length / _SECONDS[unit]:.0f}{unit}"
    return f"{length:g}s"


def duration(length: float) -> str:
    """Return how many seconds something took, in words for a page.

    Example:
        >>> duration(0.1234), duration(75), duration(7500)
        ('0.12 s', '1 min 15 s', '2 h 5 min')
    """
    if length < _MINUTE:
        return f"{length:.2g} s" if length < 10 else f"{length:.0f} s"  # noqa: PLR2004
    minutes, rest = divmod(round(length), _MINUTE)
    hours, minutes = divmod(minutes, _HOUR)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def short_duration(length: float) -> str:
    """Return the same for a column of a table in the terminal.

    Example:
        >>> short_duration(0.1234), short_duration(75), short_duration(7500)
        ('0.12s', '1m15s', '2h05m')
    """
    if length < _MINUTE:
        return f"{length:.2f}s"
    minutes, left = divmod(round(length), _MINUTE)
    return f"{minutes}m{left:02}s" if minutes < _HOUR else f"{minutes // _HOUR}h{minutes % _HOUR:02}m"


def number(value: float) -> str:
    """Return a number with the digits that matter.

    Example:
        >>> number(12345.0), number(0.123456)
        ('12,345', '0.1235')
    """
    whole = float(value).is_integer() and abs(value) < 1e15  # noqa: PLR2004 - beyond it a float is no whole number
    return f"{int(value):,}" if whole else f"{value:.4g}"


def size(count: int) -> str:
    """Return a number of bytes, with its unit.

    Example:
        >>> size(12), size(3_400_000)
        ('12 B', '3.4 MB')
    """
    left = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if left < 1000:  # noqa: PLR2004 - of one unit
            return f"{left:.3g} {unit}"
        left /= 1000
    return f"{left:.4g} TB"


def now() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def text(value: object, most: int = 80) -> str:
    """Return text to be read as it is, on one line.

    As numbered characters, for the UIs' Markdown differs in what a backslash does: inside a table, a link, a mention.
    """
    line = " ".join(str(value).split())
    line = line if len(line) <= most else f"{line[: most - 1]}…"
    return _OUTER_UNDERSCORE.sub("&#95;", _SPECIAL.sub(lambda found: _ENTITIES[found[0]], line))


def link(shown: object, address: str | None, most: int = 80) -> str:
    """Return a link; only the text, if there is no address."""
    return f"[{text(shown, most)}]({address.translate(_NOT_IN_LINKS)})" if address else text(shown, most)


def rows(cells: Iterable[Sequence[str]]) -> list[str]:
    """Return a table's lines, the first of them its heading; cells are Markdown already."""
    heading, *others = cells
    return [f"| {' | '.join(row)} |" for row in (heading, ["---"] * len(heading), *others)]
