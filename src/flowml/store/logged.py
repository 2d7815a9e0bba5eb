"""Remembers which object was logged as which model: a task that is given it links to it, and none logs it twice."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class _Logged:
    reference: weakref.ref[Any]
    model_id: str
    content: str | None  # a fingerprint of what was logged, to see that the object has changed since


_logged: dict[int, _Logged] = {}  # by identity: equality and hashes belong to the user's class


def model_id_of(value: object) -> str | None:
    """Give the id of the logged model that this very object was logged as in this process, if it was."""
    found = _logged.get(id(value))
    return found.model_id if found is not None and found.reference() is value else None


def unchanged_model_id_of(value: object, content: str | None) -> str | None:
    """Give the same, but only if the object is still what was logged."""
    model_id = model_id_of(value)
    return model_id if model_id and content and _logged[id(value)].content == content else None


def fingerprint_of(value: object) -> str | None:
    """Fingerprint an object's content; None if it cannot be."""
    import joblib

    try:
        return str(joblib.hash(value))
    except Exception:  # noqa: BLE001 - of any class of the user's
        return None


def reference_to(value: object) -> weakref.ref[Any] | None:
    """Refer to an object without keeping it alive; None if its type does not allow that."""
    try:
        return weakref.ref(value)
    except TypeError:
        return None


def remember(original: weakref.ref[Any], model_id: str, content: str | None) -> None:
    """Note that this object, if it still lives, is that logged model."""
    value = original()
    if value is None:
        return
    key = id(value)
    _logged[key] = _Logged(weakref.ref(value, lambda dead: _forget(key, dead)), model_id, content)


def _forget(key: int, dead: weakref.ref[Any]) -> None:
    """Drop a dead object's entry, unless its address already belongs to another."""
    entry = _logged.get(key)
    if entry is not None and entry.reference is dead:
        del _logged[key]
