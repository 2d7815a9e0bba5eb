"""How a command ends when it cannot do what it was asked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def told() -> Iterator[None]:
    """End with 2 when the command cannot be done as asked, with 1 when it failed; and say why, without a traceback."""
    from flowml.errors import FlowmlError, StackError

    try:
        yield
    except (LookupError, FlowmlError) as error:
        sys.stderr.write(f"flowml: {error.args[0] if error.args else error}\n")
        sys.exit(1 if isinstance(error, StackError) else 2)


def nearest(wanted: str, there: list[str]) -> str:
    """Return the end of a message: the names that may have been meant, or else some of those that there are."""
    from difflib import get_close_matches

    close = get_close_matches(wanted, there, n=2)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    some = ", ".join(map(repr, there[:5]))
    return f"There {'is' if len(there) == 1 else 'are'} {some}{', …' if len(there) > 5 else ''}." if there else ""  # noqa: PLR2004 - some
