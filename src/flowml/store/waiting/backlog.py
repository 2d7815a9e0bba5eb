"""Runs that wait in the journal alone: memory has no room for all, where MLflow is away for long."""

from __future__ import annotations

from collections import Counter

from flowml.store.journal.journal import Journal
from flowml.store.waiting.queue import Closing, Outgoing, alive_here
from flowml.store.waiting.readback import Reader

MOST = 2000
"""Runs that wait in memory; of more than these, those that have ended wait in the journal alone."""

_AT_ONCE = 500  # that are read again


class Backlog:
    """The runs that the writer of one store has let go of, in the order in which they ended."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[Journal, Closing, Outgoing | None]] = {}
        self._of_roots: Counter[Outgoing | None] = Counter()

    def __len__(self) -> int:
        return len(self._left)

    def count(self, root: Outgoing | None) -> int:
        """Count those of an outermost run; of all for None."""
        return len(self._left) if root is None else self._of_roots[root]

    def take(self, out: Outgoing) -> bool:
        """Let go of a run that has ended and was never sent, if the journal has all of it.

        Returns:
            Whether that was done.
        """
        closing, mine = out.closing, out.journal
        is_simple = closing is not None and closing.status == "FINISHED" and not closing.rolls_up
        is_unsent = not (out.created.done() or out.was_tried or out.is_restored) and out.new is not None
        is_whole = mine is not None and mine.is_open() and not out.has_gaps
        if closing is None or mine is None or not (is_simple and is_unsent and out.root and is_whole):
            return False
        out.let_go()
        out.closing = None
        self._left[out.key] = mine, closing, out.root
        self._of_roots[out.root] += 1
        return True

    def give(self) -> list[tuple[Outgoing, Closing]]:
        """Return the next ones, read from the journal, with how they ended."""
        some = {key: self._left[key] for key in list(self._left)[:_AT_ONCE]}
        reader = Reader(alive_here())
        journals = dict.fromkeys(mine for mine, _, _ in some.values())
        found = reader.read(journals, only=some.keys())
        for key, (_, _, root) in some.items():
            del self._left[key]
            self._of_roots[root] -= 1
        return [(out, some[key][1]) for one in found for key, out in one.runs.items()]
