"""Which of a model's moves is the last: MLflow may be told of one long after it was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from flowml.store.ledger.entries import Decision, Entry

OVERWRITTEN = "overwritten"
"""The fact that another move had followed when this one became known."""

ASKED = "asked"
"""The fact that says when a move was asked for, in milliseconds since 1970, where it may have been made later."""

AFTER = "after"
"""The fact that says since when a move may have been made that was found later, in milliseconds since 1970."""

_CLOCKS = 60_000  # ms by which the clocks of machines may differ


def last_move(entries: Sequence[Entry], alias: str) -> Entry | None:
    """Return the move by which an alias came to where the ledger says it is."""
    mine = (each for each in reversed(entries) if each.decision.kind == "move" and each.decision.alias == alias)
    return next((each for each in mine if not each.is_void and not each.decision.facts.get(OVERWRITTEN)), None)


def is_late(decision: Decision, asked: int, last: Entry | None) -> bool:
    """Tell whether the last move was asked for after this one; beyond doubt, where two machines' clocks told when."""
    if last is None:
        return False
    other = last.decision
    since = int(other.facts.get(ASKED, other.facts.get(AFTER, other.at))) - asked
    return since > (0 if are_of_one_flow(decision, other) else _CLOCKS)


def are_of_one_flow(one: Decision, other: Decision) -> bool:
    """Tell whether one flow run made both decisions."""
    return one.flow_run_id is not None and one.flow_run_id == other.flow_run_id
