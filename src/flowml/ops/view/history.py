"""``flowml history``: every move of a registered model's aliases, or which version had one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flowml.errors import RegistryError, nearest_or_some
from flowml.ops import output
from flowml.ops.runs import connected
from flowml.registry import history
from flowml.registry.history import Move
from flowml.store.backend.failures import explained
from flowml.store.registered import references

_TITLES = ("number", "when", "alias", "from", "to", "by", "how", "gate", "approved by", "why")


def show(model: str, *, alias: str | None, at: str | None, as_json: bool) -> None:
    """Print the moves, oldest first, or the one that was in force at a time.

    Args:
        model: The registered model's name.
        alias: Only this one; ``champion`` where a time is asked for and none is named.
        at: The time, in ISO 8601; one without a zone is this machine's.
        as_json: Print JSON.

    Raises:
        LookupError: If there is no store yet, or the time is none.
        RegistryError: If there is no such model or alias, or no version had it then.
        TrackingError: If MLflow cannot be reached.
    """
    moment = None if at is None else _time(at)
    connection = connected()
    with explained(connection.uri):
        references.check_model(connection.client, model)
        entries = history.entries_of(connection.client, model)
    _check(model, alias or ("champion" if moment else None), history.moves_in(entries))
    found = [history.at(entries, alias or "champion", moment)] if moment else history.moves_in(entries, alias)
    if as_json:
        output.data([move.as_json() for move in found])
    elif not found:
        output.say(f"No alias of {model} was ever moved.")
    else:
        output.rows(_TITLES, map(_line, found))


def _check(model: str, alias: str | None, moves: Sequence[Move]) -> None:
    """See that an alias is one that was ever moved, where any was."""
    known = sorted({move.alias for move in moves})
    if alias is not None and known and alias not in known:
        msg = f"No alias {alias!r} of {model} was ever moved. {nearest_or_some(alias, known)}"
        raise RegistryError(msg)


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone()
    except (ValueError, OverflowError):
        msg = f"--at cannot be {text!r}: write a time such as 2026-11-01T12:00, or 2026-11-01T12:00+02:00."
        raise LookupError(msg) from None


def _line(move: Move) -> tuple[object, ...]:
    when = f"{move.at.astimezone():%Y-%m-%d %H:%M:%S}"
    if move.after:
        since = f"{move.after.astimezone():%Y-%m-%d %H:%M:%S}" if move.after.timestamp() else "ever"
        when = f"{since} … {when}"
    gate = move.evidence or "-"
    approved = ", ".join(move.approved_by) or "-"
    versions = (move.before or "-", move.version or "-")
    return (move.number, when, move.alias, *versions, move.who, move.how, gate, approved, move.why)
