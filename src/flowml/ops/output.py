"""Puts rows on a terminal as a table, and into anything else as lines with tabs that programs can cut."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_COLOURS = {
    **dict.fromkeys(("Completed", "Cached", "ok", "="), "green"),
    **dict.fromkeys(("Failed", "Crashed", "TimedOut", "error"), "red"),
    **dict.fromkeys(("Cancelled", "Killed", "Retrying", "RolledBack", "warning", "*"), "yellow"),
    **dict.fromkeys(("Running", "Paused", "Suspended"), "cyan"),
}
_WHOLE = {"state", "started", "took", "Prefect", "MLflow"}  # columns that a narrow terminal does not break


def is_terminal() -> bool:
    """Tell whether somebody looks at the output."""
    return sys.stdout.isatty()


def clean(text: object) -> str:
    """Return a text without what would steer the terminal or break the line."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in str(text))


def cell(value: object, *, link: str | None = None, width: int = 0) -> Text:
    """Return a value for a terminal, as it is: what looks like markup is not taken for it.

    Args:
        value: The value.
        link: Where it leads.
        width: How many characters it takes at least.
    """
    from rich.text import Text

    text = clean(value)
    style = f"link {link}" if link and " " not in link else _COLOURS.get(text, "")
    return Text(text.ljust(width), style=style)


def rows(titles: Sequence[str], lines: Iterable[Sequence[object]], *, headed: bool = False) -> None:
    """Write rows.

    Args:
        titles: The names of the columns.
        lines: The rows.
        headed: Name the columns also where the output is no terminal.
    """
    if not is_terminal():
        for line in [titles, *lines] if headed else lines:
            sys.stdout.write("\t".join(map(clean, line)).rstrip("\t") + "\n")
        return
    print_rich(table(titles, lines))


def table(titles: Sequence[str], lines: Iterable[Sequence[object]]) -> Table:
    """Make a table for a terminal."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        least = 16 if title == "run" else None
        made.add_column(cell(title), overflow="fold", no_wrap=title in _WHOLE, min_width=least)
    for line in lines:
        made.add_row(*(value if isinstance(value, Text) else cell(value) for value in line))
    return made


def say(*words: object) -> None:
    """Write a line, which is never wrapped, and is seen at once also where the output is a file."""
    sys.stdout.write(f"{clean(' '.join(map(str, words)))}\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """Say something beside the output."""
    sys.stderr.write(f"{clean(line)}\n")


def data(value: Any) -> None:
    """Write JSON; what JSON has no number for is null."""
    sys.stdout.write(json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_rich(*what: Any) -> None:
    """Put something on the terminal; a long line breaks where the terminal breaks it."""
    from rich.console import Console

    Console(highlight=False, markup=False, soft_wrap=True).print(*what)
