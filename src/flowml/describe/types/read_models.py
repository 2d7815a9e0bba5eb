"""Models that were read from the registry: a run says which version it was given, and nothing else of it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

from flowml import records
from flowml.describe.place import Place
from flowml.storable import legal_key

TAG = "flowml.read."
"""What the tag begins with that says which version of a registered model a run has read."""

_known: dict[int, tuple[weakref.ref[Any], str, str]] = {}  # by identity: equality belongs to the user's class


def note(value: object, version: str, asked: str) -> None:
    """Remember which version this very object is.

    Args:
        value: The model.
        version: The version, ``churn/7``.
        asked: How it was asked for, ``churn@champion``.
    """
    key = id(value)
    try:
        reference = weakref.ref(value, lambda dead: _forget(key, dead))
    except TypeError:  # an object that cannot be referred to is not recognised
        return
    _known[key] = reference, version, asked


def told(value: object, name: str) -> list[records.Record] | None:
    """Tell that a run has read a version; None of an object that is none."""
    found = _known.get(id(value))
    if found is None or found[0]() is not value:
        return None
    _, version, asked = found
    return [records.ModelInput(name, value), records.Tag(legal_key(f"{TAG}{version}"), asked)]


def describe(value: object, place: Place) -> Iterator[records.Record] | None:
    """Describe a model that was read, as an argument or as what a task returns; None of any other object."""
    about = told(value, place.name)
    return None if about is None else iter([records.Param(place.label, _known[id(value)][1]), *about])


def _forget(key: int, dead: weakref.ref[Any]) -> None:
    """Drop a dead object's entry, unless its address already belongs to another."""
    entry = _known.get(key)
    if entry is not None and entry[0] is dead:
        del _known[key]
