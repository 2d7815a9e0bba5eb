"""Versions of prompts: a run says which one it was given, and MLflow links it to the run, its traces and its models."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from typing import Any

from flowml import records
from flowml.describe.dispatch import register, register_lazy
from flowml.describe.place import Place
from flowml.storable import legal_key

TAG = "flowml.prompt."
"""What the tag begins with that says which version of a prompt a run has read."""

_MODULE = "mlflow.entities.model_registry.prompt_version"
_asked: dict[int, tuple[weakref.ref[Any], str]] = {}  # by identity: two that are equal were asked for differently


def note(prompt: Any, asked: str) -> None:
    """Remember how this very object was asked for: ``prompts:/summarize@production``."""
    key = id(prompt)
    _asked[key] = weakref.ref(prompt, lambda dead: _forget(key, dead)), asked


def told(prompt: Any) -> list[records.Record]:
    """Tell that a run has read a version of a prompt."""
    found = _asked.get(id(prompt))
    asked = found[1] if found and found[0]() is prompt else str(prompt.uri)
    tag = records.Tag(legal_key(f"{TAG}{prompt.name}/{prompt.version}"), asked)
    return [records.PromptInput(str(prompt.name), str(prompt.version), prompt), tag]


def _prompt(value: Any, place: Place) -> Iterator[records.Record]:
    yield records.Param(place.label, str(value.uri))
    if place.role == "input":
        yield from told(value)


def _forget(key: int, dead: weakref.ref[Any]) -> None:
    """Drop a dead object's entry, unless its address already belongs to another."""
    entry = _asked.get(key)
    if entry is not None and entry[0] is dead:
        del _asked[key]


# What is met was imported before: the module is looked up, as nothing here may import MLflow.
def _load() -> None:
    register(sys.modules[_MODULE].PromptVersion, _prompt)


def register_all() -> None:
    """Register MLflow's versions of prompts for when they are met."""
    register_lazy(_MODULE, _load)
