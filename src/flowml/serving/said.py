"""What the workers of one server have said: each of them sees the same, and one line is enough."""

from __future__ import annotations

import hashlib
import sys
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

_PATIENCE = 5.0  # seconds that another worker may write; a line that is said twice does no harm


class Said:
    """Says lines to whoever runs the server, once for all workers.

    What was said before is in a file. A worker goes through it as it says the same things later; what it cannot find
    there from where it is, is new.

    Args:
        folder: Where the workers share it; None where there is one process.
        about: What the lines are about; lines about something else are told apart.
    """

    def __init__(self, folder: Path | None, about: str) -> None:
        self._file = folder / hashlib.sha256(about.encode()).hexdigest() if folder else None
        self._at = 0  # how many of the lines there this worker has said, or left to another

    def __call__(self, line: str) -> bool:
        """Say a line.

        Returns:
            Whether it was said; False where another worker had.
        """
        line = " ".join(line.split())
        if self._file and not self._is_new(self._file, line):
            return False
        say(line)
        return True

    def _is_new(self, file: Path, line: str) -> bool:
        with suppress(Timeout), FileLock(f"{file}.lock", timeout=_PATIENCE):
            lines = file.read_text("utf-8").splitlines() if file.exists() else []
            if line in lines[self._at :]:
                self._at = lines.index(line, self._at) + 1
                return False
            with file.open("a", encoding="utf-8") as opened:
                opened.write(f"{line}\n")
            self._at = len(lines) + 1
        return True


def say(line: str) -> None:
    """Tell whoever runs the server."""
    sys.stdout.write(f"flowml: {line}\n")
    sys.stdout.flush()
