"""flowml's own faults: told apart from what MLflow, a server or a disk does, and named as flowml's in every thread."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from itertools import islice

from flowml.errors import FlowmlError

strict = False
"""Keep each of flowml's own faults in `seen`, whichever thread it is caught in; the tests turn it on."""

seen: list[BaseException] = []

_MISTAKES = (ArithmeticError, AssertionError, AttributeError, IndexError, KeyError, NameError, TypeError)
_ROOM = __name__.partition(".")[0]
_FRAMES = 4  # so many of the innermost are shown


def is_own(error: BaseException) -> bool:
    """Tell whether an error is a mistake in flowml, or in how it calls others; no server and no disk raises such.

    What Python itself raises for a mistake is one wherever it is raised below flowml; any other error of Python's own,
    but for those of files and connections, is one if flowml's lines raised it.
    """
    if type(error).__module__ != "builtins" or isinstance(error, OSError | FlowmlError | MemoryError):
        return False
    if not isinstance(error, Exception):
        return False
    return isinstance(error, _MISTAKES) or _innermost(error) == _ROOM


def explain(error: BaseException) -> str:
    """Say that an error is flowml's own fault, where it is, and what to report."""
    first = str(error).splitlines()[:1]
    what = f"{type(error).__name__}: {first[0] if first else ''}"[:400].rstrip(". :")
    return (
        f"a fault of flowml's own, not of MLflow's or yours: {what} (at {_where(error)}). "
        f"Please report this line to flowml, with the versions that `flowml doctor` prints."
    )


def note(error: BaseException) -> None:
    """Let the tests know of an error that is flowml's own and goes no further; of another, do nothing."""
    if strict and is_own(error) and error not in seen:
        seen.append(error)


def tell(doing: str, error: BaseException, log: logging.Logger, *, level: int = logging.DEBUG) -> None:
    """Say in the log what went wrong in a thread of flowml's, where nobody waits for it; its own faults as a warning.

    Args:
        doing: What flowml was doing: "send what waits".
        error: What went wrong.
        log: Where it is said.
        level: How loudly, if it is not flowml's own fault.
    """
    note(error)
    if is_own(error):
        log.warning("flowml: could not %s: %s", doing, explain(error))
    else:
        log.log(level, "flowml: could not %s: %s: %s", doing, type(error).__name__, error)
    log.debug("flowml: could not %s", doing, exc_info=error)


def _innermost(error: BaseException) -> str:
    """Return the package whose line raised an error; Python's own library raises for whoever calls it."""
    return next((package for package, _ in _lines(error)), "")


def _where(error: BaseException) -> str:
    """Return the innermost lines, innermost first."""
    return " < ".join(line for _, line in islice(_lines(error), _FRAMES)) or "an unknown line"


def _lines(error: BaseException) -> Iterator[tuple[str, str]]:
    """Return the packages and lines that an error came through, innermost first; not those of Python's library."""
    found = []
    for frame, number in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__"))
        package = module.partition(".")[0]
        if package not in sys.stdlib_module_names:
            found.append((package, f"{module}:{number}"))
    return reversed(found)
