"""A promotion or registration as an event: the same one, whether flowml tells of it or MLflow's webhook does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flowml.events import names
from flowml.events.names import Event


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
        names.ID: names.model(facts["model"]),
        names.NAME: facts["model"],
        names.VERSION: facts["version"],
        names.DEPLOYMENT: deployment,
    }
    uri = f"models:/{facts['model']}/{facts['version']}"
    told = {"model": facts["model"], "version": facts["version"], "model_uri": uri, **payload}
    return Event(names.MODEL_REGISTERED, about, told, related, _same(facts), delivery)


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
    about = {**made.about, names.ALIAS: names.label(facts["alias"])}
    told = {**made.payload, "alias": facts["alias"], "alias_uri": f"models:/{facts['model']}@{facts['alias']}"}
    same = _same(facts)
    return Event(names.MODEL_PROMOTED, about, told, related, f"{same} {facts['alias']}" if same else None, delivery)


def _same(facts: Mapping[str, str]) -> str | None:
    made_by = facts.get("made_by")
    return f"{made_by} {facts['model']} {facts['version']}" if made_by else None
