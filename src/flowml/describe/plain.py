"""Scalars, and the nests of lists and mappings of them that JSON can hold."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import os
import pathlib
import re
import uuid
from collections.abc import Callable
from typing import Any

from flowml.describe.dispatch import as_list
from flowml.describe.place import DEEPEST
from flowml.describe.secrets import MASK, is_secret_name
from flowml.describe.text import as_json, clean, int_text, key_text, short

MOST_ITEMS = 1_000  # in a list that becomes one parameter


def _enum_text(value: enum.Enum) -> str:
    inner = value._value_
    return scalar_text(inner) or value._name_


TEXTS: dict[type, Callable[[Any], str]] = {
    str: str.__str__,
    bool: bool.__repr__,
    int: int_text,
    float: float.__repr__,
    complex: complex.__repr__,
    type(None): repr,
    enum.Enum: _enum_text,
    dt.datetime: dt.datetime.isoformat,
    dt.date: dt.date.isoformat,
    dt.time: dt.time.isoformat,
    dt.timedelta: dt.timedelta.__str__,
    decimal.Decimal: decimal.Decimal.__str__,
    fractions.Fraction: fractions.Fraction.__str__,
    uuid.UUID: uuid.UUID.__str__,
    pathlib.PurePath: os.fspath,
    range: range.__repr__,
    re.Pattern: lambda value: str(value.pattern),
}


def scalar_text(value: Any) -> str | None:
    """Write a scalar as text; None when it is no scalar."""
    kind = type(value)
    write = TEXTS.get(kind)
    if write is None:
        if isinstance(kind, enum.EnumMeta):
            return _enum_text(value)
        write = next((TEXTS[ancestor] for ancestor in kind.__mro__[:-1] if ancestor in TEXTS), None)
    return None if write is None else write(value)


class _NotPlainError(Exception):
    """Something in a nest is neither scalar nor container, or there is too much of it."""


def plain(value: Any, most: int = MOST_ITEMS) -> tuple[bool, Any]:
    """Turn a nest of lists, tuples, sets and mappings of scalars into what JSON can hold.

    Returns:
        Whether the value is such a nest, of at most ``most`` items and without a circle; and the nest.
    """
    try:
        return True, _plain(value, [most], 0)
    except _NotPlainError:
        return False, None


def as_text(data: Any) -> str:
    """Write what `plain` gave as one parameter: a scalar as Python does, a nest as JSON."""
    if isinstance(data, str):
        return clean(data)
    return repr(data) if data is None or isinstance(data, (bool, float)) else as_json(data)


def _plain(value: Any, left: list[int], depth: int) -> Any:  # noqa: PLR0911 - one line for each case
    left[0] -= 1
    if left[0] < -1 or depth > DEEPEST:
        raise _NotPlainError
    value = as_list(value)
    kind = type(value)
    if value is None or kind in (bool, float):
        return value
    if kind is int:
        return value if int.bit_length(value) <= 64 else int_text(value)  # noqa: PLR2004
    if issubclass(kind, float):  # NumPy's, for one
        return float.__float__(value)
    if kind is dict:
        return {
            key_text(key): MASK if is_secret_name(key_text(key)) and item is not None else _plain(item, left, depth + 1)
            for key, item in value.items()
        }
    if kind in (list, tuple):
        return [_plain(item, left, depth + 1) for item in value]
    if kind in (set, frozenset):
        return sorted((_plain(item, left, depth + 1) for item in value), key=short)
    text = scalar_text(value)
    if text is None:
        if kind.__module__ == "numpy" and getattr(value, "ndim", None) == 0:
            return _plain(value.item(), left, depth + 1)
        raise _NotPlainError
    return text
