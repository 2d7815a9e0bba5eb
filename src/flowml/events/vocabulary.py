"""What flowml's events are called, what they are about, and which of them are the same one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from flowml.errors import did_you_mean

APPROVAL_ASKED = "flowml.approval.asked"
GATE_REFUSED = "flowml.gate.refused"
PROMPT_PROMOTED = "flowml.prompt.promoted"
RUN_FINISHED = "flowml.run.finished"
MODEL_LOGGED = "flowml.model.logged"
MODEL_REGISTERED = "flowml.model.registered"
MODEL_PROMOTED = "flowml.model.promoted"
MODEL_SERVED = "flowml.model.served"
MODEL_NOT_SERVED = "flowml.model.not_served"
METRIC_BREACHED = "flowml.metric.breached"
DATASET_CHANGED = "flowml.dataset.changed"
DATASET_DRIFTED = "flowml.dataset.drifted"
FILE_CHANGED = "flowml.file.changed"
EVENTS = (
    APPROVAL_ASKED,
    DATASET_CHANGED,
    DATASET_DRIFTED,
    FILE_CHANGED,
    GATE_REFUSED,
    METRIC_BREACHED,
    MODEL_LOGGED,
    MODEL_NOT_SERVED,
    MODEL_PROMOTED,
    MODEL_REGISTERED,
    MODEL_SERVED,
    PROMPT_PROMOTED,
    RUN_FINISHED,
)

ID = "prefect.resource.id"
NAME = "prefect.resource.name"
ROLE = "prefect.resource.role"
ALIAS = "flowml.alias"
DEPLOYMENT = "flowml.deployment"
FLOW = "flowml.flow"
LIMIT = "flowml.limit"
VERSION = "flowml.version"
NOBODY = "none"
"""The deployment of a run that none started."""

OURS = UUID("5f1c7a52-6d0f-5d0c-9b1e-0f6d6c0a7f11")
"""The namespace of flowml's event ids."""

_PATTERN = re.compile(r"[%*?\[\]!]")


@dataclass(frozen=True, slots=True)
class Event:
    """An event that is to be told.

    Attributes:
        name: Which one.
        about: The labels of what it is about, its id among them.
        payload: What is told.
        related: The labels of what else it has to do with.
        same: Two events of which this is the same are one; None if no other can be the same.
        id: The event's id, where it is not made of ``same``.
    """

    name: str
    about: Mapping[str, str]
    payload: Mapping[str, Any]
    related: tuple[Mapping[str, str], ...] = ()
    same: str | None = None
    id: UUID | None = field(default=None)

    @property
    def known_by(self) -> UUID | None:
        """Its id: the same for the same event, of which Prefect's server then takes one."""
        return uuid5(OURS, f"{self.name} {self.same}") if self.same else self.id


def label(text: str) -> str:
    """Write a text so that Prefect, which takes the labels of a trigger for patterns, matches it alone."""
    return _PATTERN.sub(lambda found: f"%{ord(found[0]):02X}", text)


def unlabel(text: str) -> str:
    """Read what `label` wrote."""
    return re.sub(r"%([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), text)


def model(name: str) -> str:
    """Name a registered model among Prefect's resources."""
    return f"flowml.model.{label(name)}"


def prompt(name: str) -> str:
    """Name a prompt among Prefect's resources."""
    return f"flowml.prompt.{label(name)}"


def metric(name: str) -> str:
    """Name a metric among Prefect's resources."""
    return f"flowml.metric.{label(name)}"


def dataset(name: str) -> str:
    """Name a dataset among Prefect's resources."""
    return f"flowml.dataset.{label(name)}"


def files(pattern: str) -> str:
    """Name the files of a pattern among Prefect's resources."""
    return f"flowml.file.{label(pattern)}"


def check(event: str) -> None:
    """Refuse an event that flowml does not tell of.

    Raises:
        ValueError: If there is none of that name; the message says the nearest.
    """
    if event not in EVENTS:
        meant = did_you_mean(event, EVENTS, cutoff=0.4)
        hint = f"{meant} It tells of" if meant else "It tells of"
        others = "For other events use a trigger of prefect.events."
        msg = f"flowml tells of no event {event!r}. {hint} {', '.join(EVENTS)}. {others}"
        raise ValueError(msg)


def registered(
    facts: Mapping[str, str],
    payload: Mapping[str, Any],
    related: tuple[Mapping[str, str], ...],
    deployment: str,
    *,
    delivery: UUID | None = None,
) -> Event:
    """Tell of a new version of a registered model.

    Args:
        facts: ``model``, ``version``, and ``made_by``, the run that it was registered by, if flowml did it.
        payload: What else is told.
        related: What else it has to do with.
        deployment: Which deployment's run did it.
        delivery: The id of the message that told of it, if a person did it.
    """
    about = {
        ID: model(facts["model"]),
        NAME: facts["model"],
        VERSION: facts["version"],
        DEPLOYMENT: deployment,
    }
    uri = f"models:/{facts['model']}/{facts['version']}"
    full_payload = {"model": facts["model"], "version": facts["version"], "model_uri": uri, **payload}
    return Event(MODEL_REGISTERED, about, full_payload, related, _same(facts), delivery)


def promoted(
    facts: Mapping[str, str],
    payload: Mapping[str, Any],
    related: tuple[Mapping[str, str], ...],
    deployment: str,
    *,
    delivery: UUID | None = None,
) -> Event:
    """Tell that a version was given an alias.

    Args:
        facts: ``model``, ``version``, ``alias``, and ``made_by``, the run that did it, if flowml did.
        payload: What else is told.
        related: What else it has to do with.
        deployment: Which deployment's run did it.
        delivery: The id of the message that told of it, if a person did it.
    """
    made = registered(facts, payload, related, deployment)
    about = {**made.about, ALIAS: label(facts["alias"])}
    full_payload = {**made.payload, "alias": facts["alias"], "alias_uri": f"models:/{facts['model']}@{facts['alias']}"}
    same = _same(facts)
    return Event(MODEL_PROMOTED, about, full_payload, related, f"{same} {facts['alias']}" if same else None, delivery)


def prompt_promoted(facts: Mapping[str, str], payload: Mapping[str, Any]) -> Event:
    """Tell that a version of a prompt was given an alias.

    Args:
        facts: ``prompt``, ``version``, ``alias``, and ``made_by``, the decision that did it.
        payload: What else is told.
    """
    name, version, alias = facts["prompt"], facts["version"], facts["alias"]
    about = {ID: prompt(name), NAME: name, VERSION: version, ALIAS: label(alias), DEPLOYMENT: NOBODY}
    uris = {"prompt_uri": f"prompts:/{name}/{version}", "alias_uri": f"prompts:/{name}@{alias}"}
    told = {"prompt": name, "version": version, "alias": alias, **uris, **payload}
    made_by = facts.get("made_by")
    return Event(PROMPT_PROMOTED, about, told, same=f"{made_by} {name} {version} {alias}" if made_by else None)


def served(name: str, version: str, alias: str, *, refused: str = "") -> Event:
    """Tell that a version answers requests, or why it does not.

    Args:
        name: The registered model's name.
        version: The version's number.
        alias: The alias that is served; empty if it is the version itself.
        refused: Why it does not answer.
    """
    about = {ID: model(name), NAME: name, VERSION: version, **({ALIAS: label(alias)} if alias else {})}
    payload = {"model": name, "version": version, "model_uri": f"models:/{name}/{version}"}
    if alias:
        payload["alias"] = alias
    if refused:
        return Event(MODEL_NOT_SERVED, about, {**payload, "reason": refused})
    return Event(MODEL_SERVED, about, payload)


def _same(facts: Mapping[str, str]) -> str | None:
    made_by = facts.get("made_by")
    return f"{made_by} {facts['model']} {facts['version']}" if made_by else None
