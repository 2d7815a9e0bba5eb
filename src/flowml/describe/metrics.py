"""Numbers and what is made of them: metrics and their histories."""

from __future__ import annotations

import decimal
import fractions
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flowml import records
from flowml.describe.place import DEEPEST, Place
from flowml.errors import pass_on

MOST_POINTS = 1_000  # of one metric's history; a longer one is sampled evenly


def number(value: Any) -> float | None:  # noqa: PLR0911 - one line for each case
    """Read a value as a metric's number; None when it is none. A bool is not a number here."""
    kind = type(value)
    if kind is float:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return None
    try:
        if issubclass(kind, float):
            return float.__float__(value)
        if issubclass(kind, int):
            return int.__float__(value)
        if kind in (decimal.Decimal, fractions.Fraction):
            return float(value)
        return _array_number(value, kind)
    except (OverflowError, ValueError):  # an int beyond floats, a signalling NaN
        return None


def as_number(value: Any) -> float | None:
    """Read what the user says is a number, as MLflow does: a bool is one too, and so is what can be made a float."""
    kind = type(value)
    if kind is bool:
        return float(value)
    point = number(value)
    if point is not None or issubclass(kind, (str, bytes, bytearray)):
        return point
    try:
        if callable(getattr(kind, "item", None)):  # an array or tensor with one element
            return as_number(value.item())
        return float(value) if callable(getattr(kind, "__float__", None)) else None
    except BaseException as error:  # noqa: BLE001 - of any class: then it is none
        pass_on(error)
        return None


def _array_number(value: Any, kind: type) -> float | None:
    """Read a NumPy number, or an array or tensor of no dimension."""
    library = kind.__module__.partition(".")[0]
    if library == "numpy":
        import numpy as np

        if issubclass(kind, np.generic) or (issubclass(kind, np.ndarray) and value.ndim == 0):
            return float(value) if np.dtype(value.dtype).kind in "iuf" else None
    elif library == "torch" and getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return number(value.item())
    return None


def sampled(length: int, most: int = MOST_POINTS) -> Sequence[int]:
    """Give at most so many positions, evenly spread, the first and the last among them."""
    if length <= most:
        return range(length)
    return [round(index * (length - 1) / (most - 1)) for index in range(most)]


def history(values: Sequence[Any], place: Place) -> list[records.Record] | None:
    """Make a list of numbers, or of mappings of numbers, metrics with steps; None when it holds anything else."""
    steps = sampled(len(values))
    found: list[records.Record] = []
    for step in steps:
        value = values[step]
        points = list(_points(value, place)) if isinstance(value, dict) else [(place.name, number(value))]
        if not points:
            return None
        for key, point in points:
            if point is None:
                return None
            found.append(records.Metric(key, point, step))
    if len(steps) < len(values):
        found.append(records.Tag(f"flowml.sampled.{place.name}", f"{len(steps):,} of {len(values):,} points"))
    return found


def from_many(value: Any, place: Place, step: int = 0) -> list[records.Record]:
    """Take the numbers out of a mapping or list, and leave the rest."""
    if isinstance(value, Mapping):
        found = [records.Metric(key, point, step) for key, point in _points(value, place) if point is not None]
        return list(found)
    return history(value, place) or []


def _points(values: Any, place: Place) -> Iterator[tuple[str, float | None]]:
    """Walk through nested mappings: the metric's name and its number, None for what is none."""
    return ((name, number(value)) for name, value in leaves(values, place))


def leaves(values: Any, place: Place) -> Iterator[tuple[str, Any]]:
    """Walk through nested mappings: name and value of each that is no mapping; secret texts are left out."""
    items = dict.items(values) if isinstance(values, dict) else values.items()
    for key, value in items:
        below = place.child(key, values)
        if isinstance(value, Mapping) and below.depth <= DEEPEST and id(value) not in below.above:
            yield from leaves(value, below)
        elif not below.is_secret or as_number(value) is not None:
            yield below.name, value
        elif below.hidden:
            below.hidden.note(below.name)
