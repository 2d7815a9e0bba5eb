"""How a command ends that cannot be done."""

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
        sys.stderr.write(f"flowml: {error}\n")
        sys.exit(1 if isinstance(error, StackError) else 2)
