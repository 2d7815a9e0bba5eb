"""How long sending waits, in seconds: each figure with its reason."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
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
