"""Markdown for the pages of both UIs: names of any kind are shown as they are, and can break or smuggle in nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_ENTITIES = {character: f"&#{ord(character)};" for character in "\\`*[]<>|~#@:!$"} | {"&": "&amp;"}
_SPECIAL = re.compile("[" + re.escape("".join(_ENTITIES)) + "]")
_OUTER_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_NOT_IN_LINKS = str.maketrans({character: f"%{ord(character):02X}" for character in " ()<>[]|\"'`\\*\n\r\t"})


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
