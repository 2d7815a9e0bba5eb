"""Keeps Prefect's server under test from standing still for a minute; Python runs this as the server starts.

SQLite refuses a write with "database is locked" when another came between. The exception holds the cursor; when Python
frees both in the server's event loop while the same connection waits for the database, the loop waits with it: until
the database's timeout, for what holds the database waits for the loop. Here the cursor is closed where it failed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

if "uvicorn" in sys.orig_argv:
    from aiosqlite import Cursor

    execute = Cursor._execute

    async def execute_or_close(self: Cursor, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Close the cursor of what fails, in the connection's own thread."""
        try:
            return await execute(self, fn, *args, **kwargs)
        except Exception:
            with suppress(Exception):
                await execute(self, self._cursor.close)
            raise

    Cursor._execute = execute_or_close
