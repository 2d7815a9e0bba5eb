"""How long sending waits, in seconds: each figure with its reason, and the watch that tells who does not answer."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LINGER = 1.0
"""Records wait so long for company before they are sent on their own: few calls take many."""

QUIET = 0.02
"""After so long without news a task is taken to be in its body: sending then disturbs it least."""

HOLD = 0.5
"""After so long news are sent all the same, where no such quiet moment comes."""

IDLE = 60.0
"""After so long the sender looks up, where it has nothing to do; news wake it earlier."""

STUCK = 3.0
"""A call to MLflow that takes so long is taken for one that is not answered; files may take longer."""

PER_FILE = 1.0
"""So much longer each of them may take: a bucket is asked more than once for it."""

SLOWEST = 5e5
"""Bytes of them that are sent in a second, at the least: over a slow line what is late is sent after the flow."""

FORK = 5.0
"""So long a fork waits for what is being sent, and sending for a fork: neither may hang on the other."""

FORK_SERVED = 0.5
"""So long where a server has the runs: a fork harms no database then, and what is being sent may take minutes."""

LONGEST_GROUP = 600.0
"""So long one group of runs is waited for; what hangs for longer is tried again."""

LONGEST_PAUSE = 15.0
"""At most so long between tries, while MLflow cannot be reached, and of a run that fails while others do not."""

LONGEST_PAUSE_AWAITED = 2.0
"""The same while somebody waits, whose time runs out."""


def longest_upload(folders: Iterable[Path]) -> float:
    """Return the seconds that sending the files in these folders may take before it is taken to hang."""
    longest = STUCK
    for folder in folders:
        with suppress(OSError):  # another run has sent them at this moment
            for file in folder.rglob("*"):
                if file.is_file():
                    longest += PER_FILE + file.stat().st_size / SLOWEST
    return longest


class Watch:
    """Tells whether a store answers those threads that send to it."""

    def __init__(self) -> None:
        self._at_work: dict[int, float] = {}  # by thread: the seconds that what it does may take
        self._progressed = 0.0

    def stuck_at(self) -> str:
        """Name who does not answer: nothing was done for longer than what is done now may take; else nobody."""
        longest = max(list(self._at_work.values()), default=math.inf)
        if time.monotonic() - self._progressed <= longest:
            return ""
        return "MLflow" if longest <= STUCK else "The store for the files of MLflow"

    def progress(self) -> None:
        """Note that it has answered."""
        self._progressed = time.monotonic()

    @contextmanager
    def working(self, longest: float = STUCK) -> Iterator[None]:
        """Count as asking MLflow, which is taken to be away if that takes longer than so many seconds."""
        mine = threading.get_ident()
        before = self._at_work.get(mine)
        if not self._at_work:
            self.progress()
        self._at_work[mine] = longest
        try:
            yield
        finally:
            self.progress()
            if before is None:
                self._at_work.pop(mine, None)
            else:
                self._at_work[mine] = before
