"""Decisions about a registered model, and the chain that they make."""

from __future__ import annotations

import getpass
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias

from flowml import formats, mlflow_limits
from flowml.errors import RegistryError

Kind: TypeAlias = Literal["gate", "approval", "move"]

APPLIED, SEEN = "applied", "seen"
"""What is noted of an entry: what became of it, and which message of MLflow's told of it."""

VOID = "void"
"""How the note begins of a move that was not carried out."""

_CUT = " … (cut)"  # ends a reason that is longer than MLflow keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided about a version of a registered model.

    Attributes:
        kind: What sort of decision: a gate's verdict, a person's approval, or a move of an alias.
        version: The version it is about; None if it has none yet, or an alias was taken away.
        alias: The alias it is about.
        was: Which version had the alias before.
        who: Who decided: a user's name.
        why: Their reason.
        at: When, in milliseconds since 1970.
        run_id: The MLflow run of the task that decided.
        flow_run_id: The Prefect flow run that it was decided in.
        facts: What else is known, as JSON has it.
    """

    kind: Kind
    version: str | None
    who: str
    alias: str | None = None
    was: str | None = None
    why: str = ""
    at: int = field(default_factory=formats.now)
    run_id: str | None = None
    flow_run_id: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision at its place in a model's chain.

    Attributes:
        number: Its place, from 1.
        decision: What was decided.
        before: The digest of the entry before it; empty for the first.
        digest: Its own digest, over all that it says and the digest before it.
        notes: What became known of it since: that it was ``applied``, and which message of MLflow's told of it.
    """

    number: int
    decision: Decision
    before: str
    digest: str
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        """Whether it is known what became of a move: the alias was moved, or it never will be."""
        return APPLIED in self.notes

    @property
    def is_void(self) -> bool:
        """Whether it was decided, and not carried out."""
        return self.notes.get(APPLIED, "").startswith(VOID)


def digest_of(number: int, decision: Decision, before: str) -> str:
    """Return the SHA-256 of an entry, which holds the one before it: a change of any entry shows in all after it."""
    told = json.dumps([number, before, asdict(decision)], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(told.encode()).hexdigest()


def written(number: int, decision: Decision, before: str) -> str:
    """Write an entry as the value of a parameter; a reason that is too long for that is cut."""
    while len(text := _text(number, decision, before)) > mlflow_limits.PARAM:
        kept = decision.why.removesuffix(_CUT)
        less = max(0, len(kept) - (len(text) - mlflow_limits.PARAM) - len(_CUT))
        if not kept:
            msg = f"A decision of {len(text):,} characters is longer than what MLflow keeps, {mlflow_limits.PARAM:,}."
            raise RegistryError(msg)
        decision = replace(decision, why=kept[:less] + _CUT if less else "")
    return text


def _text(number: int, decision: Decision, before: str) -> str:
    told = asdict(decision) | {"before": before, "digest": digest_of(number, decision, before)}
    told = {name: value for name, value in told.items() if value not in (None, "", {})}
    return json.dumps(told, sort_keys=True, ensure_ascii=False)


def read(number: int, text: str, notes: Mapping[str, str]) -> Entry:
    """Read an entry back.

    Raises:
        ValueError: If it is none.
    """
    told = json.loads(text)
    if not isinstance(told, dict):
        msg = f"{text[:40]!r} is no decision"
        raise ValueError(msg)  # noqa: TRY004 - it is a text that was read, and wrong
    known = {each.name for each in fields(Decision)}
    decision = Decision(**{"version": None} | {name: value for name, value in told.items() if name in known})
    return Entry(number, decision, told.get("before", ""), told.get("digest", ""), notes)


def broken(entries: Sequence[Entry]) -> Iterable[tuple[int, str]]:
    """Check a chain.

    Args:
        entries: All of a model's, in their order.

    Yields:
        The number of each entry that is not as it was written, and what is wrong with it.
    """
    before, expected = "", 1
    for entry in entries:
        if entry.number != expected:
            yield expected, f"is missing: the next one is {entry.number}"
        elif entry.before != before:
            yield entry.number, "does not follow the one before it, which was changed or replaced"
        if entry.digest != digest_of(entry.number, entry.decision, entry.before):
            yield entry.number, "was changed after it was written"
        before, expected = entry.digest, entry.number + 1


def this_user() -> str:
    """Return the name of the user that this process runs as."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"
