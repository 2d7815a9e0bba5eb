"""Protected aliases: what must have been decided about a version before it may have one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowml import settings
from flowml.errors import RegistryError
from flowml.store.ledger.entries import Entry
from flowml.store.ledger.moving import MADE_OF

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


DIGEST = "flowml.model_digest"
"""The tag of a version with its model's digest."""

MADE_AS = "model_digest"
"""The fact that has the digest of a gate's candidate, or of the model that a version was made of."""

CANDIDATE = "candidate"
"""The fact that names the logged model that a gate decided about."""

_CLOCKS = 60_000  # ms by which the clocks of those who decide may differ from MLflow's


def of(model: str, alias: str) -> settings.Protection:
    """Return what an alias asks for, as ``[tool.flowml.registry.<model>]`` says, or ``[tool.flowml.registry."*"]``."""
    said = settings.current().registry
    return said.get(model, {}).get(alias) or said.get("*", {}).get(alias) or settings.Protection()


def check(version: ModelVersion, alias: str, ask: Callable[[], Sequence[Entry]]) -> None:
    """Check that a version may have an alias.

    Args:
        version: The version.
        alias: The alias.
        ask: Reads the model's ledger, where the alias is protected.

    Raises:
        RegistryError: If it may not; the message says what is missing.
    """
    model, number, made = str(version.name), str(version.version), made_of(facts_of(version))
    wanted = of(model, alias)
    if wanted == settings.Protection():
        return
    since = (version.creation_timestamp or 0) - _CLOCKS  # what was decided before was about another of the same number
    entries = [entry for entry in ask() if entry.decision.at >= since or is_about(entry, made)]
    lacks = [*_gate(wanted, number, made, entries), *_approvals(wanted, number, entries)]
    if lacks:
        msg = (
            f"{model}@{alias} is protected (tool.flowml.registry in pyproject.toml), and version {number} lacks "
            f"{' and '.join(lacks)}. Nothing was changed."
        )
        raise RegistryError(msg)


def model_id_of(version: ModelVersion) -> str | None:
    """Return the id of the logged model that a version was made of; MLflow's databases have it in its source alone."""
    found = re.search(r"(?:^models:/|/)(m-[0-9a-f]{32})(?:/|$)", version.source or "")
    return version.model_id or (found[1] if found else None)


def facts_of(version: ModelVersion) -> dict[str, str | None]:
    """Return what is known of the model that a version was made of, as facts of a decision."""
    return {MADE_OF: model_id_of(version), MADE_AS: (version.tags or {}).get(DIGEST)}


def made_of(facts: Mapping[str, Any]) -> frozenset[str]:
    """Return what such facts tell: the logged model's id, and the model's digest."""
    return frozenset(str(facts[key]) for key in (MADE_OF, MADE_AS) if facts.get(key))


def gate_of(version: str, made: frozenset[str], entries: Sequence[Entry]) -> Entry | None:
    """Return the last gate's verdict about a version.

    Args:
        version: The version's number.
        made: What it was made of, as `made_of` returns it: the gate may have come before the version.
        entries: The decisions about its registered model.
    """
    gates = (entry for entry in reversed(entries) if entry.decision.kind == "gate")
    return next((entry for entry in gates if entry.decision.version == version or is_about(entry, made)), None)


def is_about(entry: Entry, made: frozenset[str]) -> bool:
    """Tell whether a gate decided about a model; ``made`` is what `made_of` returns of it."""
    return any(entry.decision.facts.get(fact) in made for fact in (CANDIDATE, MADE_AS))


def approvals_of(version: str, entries: Sequence[Entry]) -> list[Entry]:
    """Return the approvals of a version by different people, since the last refusal."""
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry.decision.kind == "approval" and entry.decision.version == version:
            if entry.decision.facts.get("approved"):
                found[entry.decision.who] = entry
            elif entry.decision.facts.get("outcome") != "timed out":  # nobody has refused it
                found.clear()
    return list(found.values())


def _gate(wanted: settings.Protection, version: str, made: frozenset[str], entries: Sequence[Entry]) -> list[str]:
    if not wanted.gate:
        return []
    last = gate_of(version, made, entries)
    if last is None:
        return ["a gate (flowml.gate)"]
    if not last.decision.facts.get("passed"):
        return [f"a gate that it passes (entry {last.number} of its ledger says that it failed)"]
    return []


def _approvals(wanted: settings.Protection, version: str, entries: Sequence[Entry]) -> list[str]:
    short = wanted.approvals - len(approvals_of(version, entries))
    if short <= 0:
        return []
    return [f"{short} approval{'s' if short > 1 else ''} (flowml.approve)"]
