"""The history of a registered model's aliases: every move, who made it, why, and on what evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from flowml.errors import RegistryError
from flowml.store.backend.retrying import may_pass
from flowml.store.ledger import Entry, Ledger, policy
from flowml.store.ledger.moving import HOW, OUTSIDE, Aliases, is_previous
from flowml.store.ledger.order import AFTER, OVERWRITTEN

if TYPE_CHECKING:
    import mlflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One move of an alias.

    Attributes:
        number: Its place among all decisions about the model, from 1.
        at: When; of one made outside flowml that nobody told of, when it was found.
        after: After when, of such a one; else None.
        alias: The alias.
        before: The version that had it before; None if none had.
        version: The version that got it; None if it was taken away.
        who: Who did it.
        why: Their reason.
        how: ``promote``, ``rollback``, ``marker`` (of a task that returned the model), or ``outside`` (in MLflow).
        run_id: The MLflow run of the task that did it.
        flow_run_id: The Prefect flow run.
        evidence: The number of the gate's verdict that it rests on.
        approved_by: Who had approved it.
    """

    number: int
    at: datetime
    after: datetime | None
    alias: str
    before: str | None
    version: str | None
    who: str
    why: str
    how: str
    run_id: str | None
    flow_run_id: str | None
    evidence: int | None
    approved_by: tuple[str, ...]

    def __str__(self) -> str:
        """Say what was moved, in a line."""
        when = f"{self.at:%Y-%m-%d %H:%M:%S}"
        if self.after:
            is_known = self.after.timestamp() > 0
            when = f"between {self.after:%Y-%m-%d %H:%M:%S} and {when}" if is_known else f"before {when}"
        if self.how == OUTSIDE:
            when += ", outside flowml"
        target = f"version {self.version}" if self.version else "no version"
        return f"{self.alias} from {self.before or 'none'} to {target}, {when}, by {self.who} (times in UTC)"

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return told | {
            "at": self.at.isoformat(),
            "after": self.after.isoformat() if self.after else None,
            "approved_by": list(self.approved_by),
        }


def entries_of(client: mlflow.MlflowClient, model: str) -> list[Entry]:
    """Return all decisions about a model, once what was moved outside flowml is noted among them.

    Args:
        client: MLflow's client.
        model: The registered model's name; it is there.
    """
    from mlflow.exceptions import MlflowException

    aliases = Aliases(client, model)
    entries = aliases.ledger.entries()
    known = {entry.decision.alias for entry in entries if entry.decision.kind == "move" and entry.decision.alias}
    for alias in sorted(known | set(aliases.now())):
        if not is_previous(alias):
            try:
                entries = aliases.settled(alias)
            except MlflowException as error:
                if may_pass(error):
                    raise
                return entries  # who may only read sees what is written
    return entries


def last_number(client: mlflow.MlflowClient, model: str) -> int:
    """Return the number of the last decision about a model; 0 if there is none."""
    entries = Ledger(client, model).entries()
    return entries[-1].number if entries else 0


def moves_in(entries: Sequence[Entry], alias: str | None = None) -> list[Move]:
    """Return the moves among decisions, oldest first.

    Args:
        entries: All decisions about a model.
        alias: Only those of this alias.
    """
    found = []
    for place, entry in enumerate(entries):
        one = entry.decision
        if one.kind != "move" or not one.alias or entry.is_void or alias not in {None, one.alias}:
            continue
        before = entries[:place]
        verdict = policy.gate_of(one.version, policy.made_of(one.facts), before) if one.version else None
        approvals = policy.approvals_of(one.version, before) if one.version else []
        after = one.facts.get(AFTER)
        found.append(
            Move(
                number=entry.number,
                at=time_of(one.at),
                after=time_of(after) if after is not None else None,
                alias=one.alias,
                before=one.was,
                version=one.version,
                who=one.who,
                why=one.why,
                how=str(one.facts.get(HOW, OUTSIDE)),
                run_id=one.run_id,
                flow_run_id=one.flow_run_id,
                evidence=verdict.number if verdict else None,
                approved_by=tuple(each.decision.who for each in approvals),
            )
        )
    return found


def at(entries: Sequence[Entry], alias: str, moment: datetime) -> Move:
    """Return the move by which a version had an alias at a time.

    Args:
        entries: All decisions about a model.
        alias: The alias.
        moment: The time.

    Raises:
        RegistryError: If no version had it then, or nobody knows.
    """
    seen = {entry.number for entry in entries if not entry.decision.facts.get(OVERWRITTEN)}
    standing = [move for move in moves_in(entries, alias) if move.number in seen]
    later = next((move for move in standing if move.at > moment), None)
    found = next((move for move in reversed(standing) if move.at <= moment), None)
    if later and later.how == OUTSIDE and later.after and later.after <= moment:
        known = f"before it was version {found.version}" if found and found.version else "before it was none"
        msg = (
            f"Nobody knows which version was {alias} then: between {later.after:%Y-%m-%d %H:%M:%S} and "
            f"{later.at:%Y-%m-%d %H:%M:%S} UTC it was moved outside flowml; {known}, after it version {later.version}."
        )
        raise RegistryError(msg)
    if found is None or found.version is None:
        first = (
            f" The first was version {standing[0].version}, at {standing[0].at:%Y-%m-%d %H:%M} UTC." if standing else ""
        )
        msg = f"No version was {alias} at {moment.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC.{first}"
        raise RegistryError(msg)
    return found


def time_of(milliseconds: int) -> datetime:
    """Return a time that is counted in milliseconds since 1970."""
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
