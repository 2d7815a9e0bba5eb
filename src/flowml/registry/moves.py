"""Promotions and rollbacks of registered models, without Prefect: for tasks and for the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowml.errors import RegistryError
from flowml.events import vocabulary
from flowml.events.vocabulary import Event
from flowml.secrets.uris import without_credentials
from flowml.store.ledger import Decision, Entry, policy
from flowml.store.ledger.moving import ANY, HOW, Aliases, Expected, is_previous
from flowml.store.ledger.order import OVERWRITTEN, last_move
from flowml.store.ledger.prompts import bare, client_of, is_prompt
from flowml.store.registered.references import NoSuchVersionError, find

if TYPE_CHECKING:
    import mlflow


ANY_VERSION = "any"
"""Stands for whichever version has an alias."""

TASK_RUN = "task_run"
"""The fact that names the task run which decided."""

ATTEMPTS = "attempts"
"""The fact that names the runs in which it was decided, each with the attempt that it was at."""

_PROMOTE, _ROLLBACK = "promote", "rollback"


@dataclass(frozen=True, slots=True)
class Promotion:
    """An alias that was moved.

    Attributes:
        model: The registered model's name.
        version: The version that has the alias now.
        alias: The alias.
        before: The version that had it before; None if none had.
        number: The decision's number in the model's history; None if the version had the alias already.
        at: When, in milliseconds since 1970.
        digest: The decision's digest.
    """

    model: str
    version: str
    alias: str
    before: str | None
    number: int | None
    at: int | None
    digest: str | None

    def __str__(self) -> str:
        """Say what was moved."""
        if self.number is None:
            return f"{self.model}@{self.alias} is version {self.version} already."
        was = f"it was version {self.before}" if self.before else "there was none before"
        return f"{self.model}@{self.alias} is version {self.version} now; {was}."


def expected(version: int | str | None) -> Expected:
    """Read which version somebody expects to have an alias.

    Raises:
        RegistryError: If it is no number of a version.
    """
    if version == ANY_VERSION:
        return ANY
    if version is None:
        return None
    text = str(version)
    if isinstance(version, bool) or not (text.isascii() and text.isdigit() and int(text) > 0):
        msg = f"expect cannot be {version!r}: it is the number of the version that must have the alias now, or 'any'."
        raise RegistryError(msg)
    return str(int(text))


def legal_alias(alias: str) -> str:
    """Return an alias that MLflow takes.

    Raises:
        RegistryError: If it takes no such alias, or flowml sets that itself.
    """
    if not isinstance(alias, str) or not re.fullmatch(r"[\w\-]{1,255}", alias, re.ASCII):
        msg = f"{alias!r} cannot be an alias. MLflow takes up to 255 letters, digits, - and _."
        raise RegistryError(msg)
    if alias == "latest" or re.fullmatch(r"v\d+", alias, re.IGNORECASE):
        msg = f"{alias!r} cannot be an alias: MLflow keeps 'latest', and names such as 'v7', for itself."
        raise RegistryError(msg)
    if is_previous(alias):
        msg = f"{alias!r} follows another alias by itself. To go back to it: flowml rollback <model>"
        raise RegistryError(msg)
    return alias


def promote(client: mlflow.MlflowClient, model: str, wish: Decision, *, expect: Expected = ANY) -> Promotion:
    """Give a version an alias, if it may have it.

    Args:
        client: MLflow's client.
        model: The registered model's name; it is there.
        wish: Which version gets which alias, by whom and why.
        expect: The version that must have the alias now, None for none.

    Raises:
        RegistryError: If the alias is protected and the version lacks something, or is not where it was expected.
    """
    aliases = Aliases(client, model)
    alias, version = wish.alias or "", wish.version or ""
    found = client_of(client, model).get_model_version(model, version)
    policy.check(found, alias, aliases.ledger.entries)
    facts = {**wish.facts, HOW: _PROMOTE, **policy.facts_of(found)}
    return _moved(aliases, replace(wish, facts=facts), expect)


def rollback(client: mlflow.MlflowClient, model: str, wish: Decision) -> Promotion:
    """Give an alias back to the version that had it before the one that has it now; again, and it goes a step further.

    Args:
        client: MLflow's client.
        model: The registered model's name; it is there.
        wish: Which alias goes back, by whom and why; the version is found.

    Raises:
        RegistryError: If there was none before, or it is deleted.
    """
    aliases, alias = Aliases(client, model), wish.alias or ""
    stack = standing(aliases.settled(alias), alias)
    if len(stack) < 2:  # noqa: PLR2004 - the one that has it, and one before
        now = f"version {stack[-1]} is the first that had it" if stack else "no version has it"
        msg = f"{model}@{alias} cannot be rolled back: {now}. Nothing was changed."
        raise RegistryError(msg)
    current, before = stack[-1], stack[-2]
    try:
        find(client, (model, before))
    except NoSuchVersionError:
        msg = (
            f"{model}@{alias} cannot be rolled back to version {before}, which is deleted. Nothing was changed. "
            f"Choose another: flowml promote {model} <version> --to {alias}"
        )
        raise RegistryError(msg) from None
    return _moved(aliases, replace(wish, version=before, facts={**wish.facts, HOW: _ROLLBACK}), current)


def made_before(client: mlflow.MlflowClient, model: str, wish: Decision) -> list[Entry]:
    """Return the moves of the same sort that earlier attempts of the runs have made in which this one is wished for.

    Args:
        client: MLflow's client.
        model: The registered model's name; it is there.
        wish: The move, with the runs among its facts; one without a version is a rollback.
    """
    now, how = wish.facts.get(ATTEMPTS, {}), _PROMOTE if wish.version else _ROLLBACK

    def is_meant(one: Decision) -> bool:
        is_same = (one.kind, one.alias, one.facts.get(HOW)) == ("move", wish.alias, how)
        told = one.facts.get(ATTEMPTS, {})
        is_earlier = any(told.get(run, attempt) < attempt for run, attempt in now.items())
        return is_same and is_earlier and wish.version in {None, one.version}

    entries = Aliases(client, model).settled(wish.alias or "")
    return [entry for entry in entries if is_meant(entry.decision) and not entry.is_void]


def standing(entries: Sequence[Entry], alias: str) -> list[str]:
    """Return the versions that had an alias one after the other, without those that were rolled back.

    Returns:
        Their numbers; the last one has it now.
    """
    stack: list[str] = []
    for entry in entries:
        decision = entry.decision
        if decision.kind != "move" or decision.alias != alias or entry.is_void or decision.facts.get(OVERWRITTEN):
            continue
        if decision.facts.get(HOW) == _ROLLBACK and len(stack) > 1 and stack[-2] == decision.version:
            stack.pop()
        elif decision.version is not None and (not stack or stack[-1] != decision.version):
            stack.append(decision.version)
    last = last_move(entries, alias)
    return stack if last and last.decision.version else []


def _moved(aliases: Aliases, wish: Decision, expect: Expected) -> Promotion:
    done = aliases.move(wish, expect=expect)
    if done.entry:
        return promotion_of(aliases.model, done.entry)
    return Promotion(aliases.model, str(wish.version), str(wish.alias), done.before, None, None, None)


def promotion_of(model: str, entry: Entry) -> Promotion:
    """Return a move of the history as `promote` returns it."""
    one = entry.decision
    return Promotion(model, str(one.version), str(one.alias), one.was, entry.number, one.at, entry.digest)


def event_of(client: mlflow.MlflowClient, done: Promotion) -> Event:
    """Return what Prefect is told of a move; a webhook that tells of the same has the same id."""
    facts = {"model": done.model, "version": done.version, "alias": done.alias, "made_by": done.digest or ""}
    payload = {"tracking_uri": without_credentials(client.tracking_uri)}
    if is_prompt(done.model):
        return vocabulary.prompt_promoted({**facts, "prompt": bare(done.model)}, payload)
    run_id = client.get_model_version(done.model, done.version).run_id or ""
    return vocabulary.promoted(facts, {"run_id": run_id or None, **payload}, (), vocabulary.NOBODY)
