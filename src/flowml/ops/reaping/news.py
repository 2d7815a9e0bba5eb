"""Waits until Prefect knows all about processes that are gone."""

from __future__ import annotations

import time
from collections.abc import Iterable

from flowml import formats, process
from flowml.ops.prefect_states import Prefect

_TAKES = 30.0  # seconds without news, after which Prefect's API has heard all that a killed process told it
_ASK_AGAIN = 5.0  # seconds


class News:
    """Waits until Prefect's API has heard all that processes told it which are gone.

    Prefect's server writes news of tasks down some time after they came, under load a long time: nothing new from
    before the end of the processes must have come for a while.

    Args:
        at_once: Whether all processes are gone when the first of them is asked about. Else each counts as gone from
            when it was first seen to be.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self._at_once = at_once
        self._gone: dict[process.Process | None, int] = {}  # processes, and when they were first seen to be gone
        self._heard = (0, 0)  # when the last of them was, and the last news from before it
        self._heard_at = 0

    def may_come(self, of: Iterable[process.Process | None], prefect: Prefect, grace: int) -> bool:
        """Wait a little, and tell whether there may be news still.

        Args:
            of: The processes.
            prefect: Prefect's API.
            grace: Milliseconds without news that are enough, if fewer than thirty seconds.
        """
        now = formats.now()
        first = min(self._gone.values(), default=now) if self._at_once else now
        for each in of:
            self._gone.setdefault(each, first)
        latest = max(self._gone.values())
        heard = latest, min(latest, prefect.last_end_of_a_task())
        if heard != self._heard:
            self._heard, self._heard_at = heard, now
        left = (self._heard_at + min(_TAKES * 1000, grace) - now) / 1000
        time.sleep(max(0.0, min(left, _ASK_AGAIN)))
        return left > 0
