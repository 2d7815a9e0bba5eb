"""Moves of aliases that MLflow's messages tell of: flowml's own are found in the ledger, others are noted there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowml import formats
from flowml.store.ledger.entries import SEEN, Entry
from flowml.store.ledger.moving import HOW, MARKER, OUTSIDE, Aliases
from flowml.store.ledger.order import last_move

if TYPE_CHECKING:
    import mlflow

_FRESH = 300_000  # ms in which MLflow tells of a move; an older one that nobody was told of is none of this message's


def hear(client: mlflow.MlflowClient, model: str, alias: str, version: str | None, message: str) -> Entry:
    """Find the move that a message tells of; one that is not in the ledger was made outside flowml, and is noted.

    Each move is one message's, so that a person who does by hand what flowml did a moment ago is told apart.

    Args:
        client: MLflow's client.
        model: The registered model's name.
        alias: The alias that was moved.
        version: Which version got it; None if it was taken away.
        message: The id of the message; one that comes again finds the same move.

    Returns:
        The move.
    """
    aliases = Aliases(client, model)
    while True:
        entries = aliases.made(alias)  # where it stands now says nothing while a move is under way
        mine = [
            one
            for one in entries
            if one.decision.kind == "move"
            and not one.is_void
            and (one.decision.alias, one.decision.version) == (alias, version)
        ]
        for entry in mine:
            if entry.notes.get(SEEN) == message:
                return entry
        for entry in mine:
            is_fresh = formats.now() - entry.decision.at < _FRESH
            if SEEN not in entry.notes and is_fresh and aliases.ledger.note(entry, SEEN, message):
                return entry
        last = last_move(entries, alias)
        was, is_over = (last.decision.version if last else None), aliases.now().get(alias) != version
        noted = aliases.note_outside(entries, alias, version, was, is_overwritten=is_over, at=formats.now())
        if noted and aliases.ledger.note(noted, SEEN, message):
            return noted


def maker_of(entry: Entry) -> str:
    """Return what made a move: the run whose marker did it, or the decision itself; empty for a person's by hand.

    Whoever tells Prefect of the same move names the same, so that Prefect hears of it once.
    """
    how = entry.decision.facts.get(HOW)
    if how == OUTSIDE:
        return ""
    return (entry.decision.run_id or "") if how == MARKER else entry.digest
