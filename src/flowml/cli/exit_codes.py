"""The exit code of a command that cannot do what it was asked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def exit_on_error() -> Iterator[None]:
    """End with 2 when the command cannot be done as asked, with 1 when it failed; and say why, without a traceback."""
    from flowml.errors import FlowmlError, StackError

    try:
        yield
    except (LookupError, FlowmlError) as error:
        if isinstance(error, LookupError) and type(error) is not LookupError:
            raise  # a KeyError or IndexError is a mistake of flowml's own
        sys.stderr.write(f"flowml: {error.args[0] if error.args else error}\n")
        sys.exit(1 if isinstance(error, StackError) else 2)
