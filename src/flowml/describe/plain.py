"""Nests of lists and mappings of scalars, as JSON can hold them; and what a call was given and gave, shown so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowml import options
from flowml.describe import hints
from flowml.describe.dispatch import as_list
from flowml.describe.hiding import hides_item
from flowml.describe.place import DEEPEST
from flowml.describe.text import as_json, cut, int_text, key_text, scalar_text, short, typed
from flowml.secrets import MASK, mask
from flowml.storable import clean

_CHANGED_BY_JSON = frozenset('\n"')
MOST_ITEMS = 1_000  # in a list that becomes one parameter
_SHOWN_ITEMS = 200  # of a nest that is shown as one; of another its type
_SHOWN = 10_000  # characters of one value
_NOTHING = object()


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
            key_text(key): MASK if hides_item(key_text(key), item) else _plain(item, left, depth + 1)
            for key, item in value.items()
        }
    if kind in (list, tuple):
        return [_plain(item, left, depth + 1) for item in value]
    if kind in (set, frozenset):
        return sorted((_plain(item, left, depth + 1) for item in value), key=short)
    text = scalar_text(value)
    if text is not None:
        return text if _CHANGED_BY_JSON.isdisjoint(text) else mask(text)  # while lines and quotes are as they were
    if kind.__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        in_nanoseconds = value.dtype.kind in "mM"  # as Python's they would come out as bare ints
        return _plain(str(value) if in_nanoseconds else value.item(), left, depth + 1)
    raise _NotPlainError


def shown_inputs(arguments: Mapping[str, Any], annotations: Mapping[str, Any]) -> dict[str, Any]:
    """Show what a call was given.

    Args:
        arguments: The bound arguments by name.
        annotations: The resolved annotations by argument name.

    Returns:
        What JSON can hold, by argument; without those that are not to be logged.
    """
    found = {name: _shown(name, value, annotations.get(name)) for name, value in arguments.items()}
    return {name: value for name, value in found.items() if value is not _NOTHING}


def shown_output(value: Any, name: str, annotation: Any = None) -> Any:
    """Show what a call returned; None if that is not to be logged.

    Args:
        value: The value.
        name: The call's name.
        annotation: Its resolved annotation.
    """
    found = _shown(name, value, annotation)
    return None if found is _NOTHING else found


def _shown(name: str, value: Any, annotation: Any) -> Any:
    if isinstance(hints.marker_in(annotation), options.Skip):
        return _NOTHING
    if hides_item(name, value):
        return MASK
    is_plain, data = plain(value, _SHOWN_ITEMS)
    if not is_plain:
        return typed(value)
    data = _masked(data)
    text = data if isinstance(data, str) else as_json(data)
    return data if len(text) <= _SHOWN else cut(text, _SHOWN)


def _masked(data: Any) -> Any:
    """Mask the secrets in the texts of a nest."""
    if isinstance(data, str):
        return mask(data)
    if isinstance(data, list):
        return [_masked(item) for item in data]
    if isinstance(data, dict):
        return {key: _masked(item) for key, item in data.items()}
    return data
