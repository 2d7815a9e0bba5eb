"""Which of a model's moves is the last: MLflow may be told of one long after it was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from flowml.store.ledger.entries import APPLIED, Decision, Entry

OVERWRITTEN = "overwritten"
"""The fact that another move had followed when this one became known."""

ASKED = "asked"
"""The fact that says when a move was asked for, in milliseconds since 1970, where it may have been made later."""

ASKED_ON = "asked_on"
"""The fact that says by which machine's clock."""

LATE = "late"
"""The fact that a move is not made, as another was that had been asked for after it."""

ASKED_FOR_LATER = "was asked for later"
"""How the reason ends why such a move is void."""

AFTER = "after"
"""The fact that says since when a move may have been made that was found later, in milliseconds since 1970."""

_CLOCKS = 60_000  # ms by which the clocks of machines may differ


def last_move(entries: Sequence[Entry], alias: str) -> Entry | None:
    """Return the move by which an alias came to where the ledger says it is."""
    mine = (each for each in reversed(entries) if each.decision.kind == "move" and each.decision.alias == alias)
    return next((each for each in mine if not each.is_void and not each.decision.facts.get(OVERWRITTEN)), None)


def is_late(wish: Decision, last: Entry | None) -> bool:
    """Tell whether the last move was asked for after one that is wished for.

    It must be so beyond doubt: clocks of two machines may differ, and a move by hand is found when it is over.
    """
    asked = wish.facts.get(ASKED)
    if last is None or asked is None:
        return False
    other = last.decision
    since = int(other.facts.get(ASKED, other.facts.get(AFTER, other.at))) - int(asked)
    is_one_clock = wish.facts.get(ASKED_ON) is not None and wish.facts.get(ASKED_ON) == other.facts.get(ASKED_ON)
    return since > (0 if is_one_clock else _CLOCKS)


def was_left(entry: Entry) -> bool:
    """Tell whether a move was given up for another that was asked for after it."""
    return bool(entry.decision.facts.get(LATE)) or entry.notes.get(APPLIED, "").endswith(ASKED_FOR_LATER)


def are_of_one_flow(one: Decision, other: Decision) -> bool:
    """Tell whether one flow run made both decisions."""
    return one.flow_run_id is not None and one.flow_run_id == other.flow_run_id
