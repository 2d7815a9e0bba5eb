"""What was found out about a large object is not found out again each time it is passed on."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Remembered:
    """What was found out, while the object lives."""

    reference: weakref.ref[Any]
    glance: str
    found: object


_all: dict[int, _Remembered] = {}


def remembered(value: object, glance: str, find: Callable[[], T]) -> T:
    """Return what was found out about this very object before, if it still looks the same.

    Args:
        value: The object; it is kept weakly.
        glance: What it looks like at a glance; the objects of users change in place.
        find: Finds out.
    """
    key = id(value)
    known = _all.get(key)
    if known and known.reference() is value and known.glance == glance:
        return cast("T", known.found)
    found = find()
    reference = weakref.ref(value, lambda dead: _forget(key, dead))
    _all[key] = _Remembered(reference, glance, found)
    return found


def _forget(key: int, dead: weakref.ref[Any]) -> None:
    known = _all.get(key)
    if known and known.reference is dead:
        _all.pop(key, None)
