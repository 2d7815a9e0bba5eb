"""Values whose annotation says how they are logged: the marker wins over the type."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from flowml import options, records
from flowml.describe import metrics
from flowml.describe.dispatch import find, part_by_part
from flowml.describe.place import Place
from flowml.describe.plain import as_text, plain
from flowml.describe.text import full_name, typed

_Describe: TypeAlias = Callable[[Any, Place], list[records.Record]]
_Marked: TypeAlias = Callable[[Any, Place], "list[records.Record] | None"]

_registered: dict[type, _Marked] = {}


def register(marker: type, describe_marked: _Marked) -> None:
    """Say how a value with a marker is described, where that takes what is built on this module."""
    _registered[marker] = describe_marked


def describe(value: Any, place: Place, describe_value: _Describe) -> list[records.Record] | None:  # noqa: PLR0911 - one line for each case
    """Describe a value as its marker says; None leaves it to the describer of its type."""
    marker = place.marker
    if isinstance(marker, options.Param):
        place = _renamed(place, marker.name)
        return _as_params(value, place if marker.prefix else replace(place, prefix=""))
    if isinstance(marker, options.Metric):
        found = _as_metrics(value, _renamed(place, marker.name))
        if found:
            return found
        return describe_value(value, replace(_renamed(place, marker.name), marker=None))
    if isinstance(marker, options.Model):
        return _registered[options.Model](value, _renamed(place, marker.name))
    if isinstance(marker, options.Dataset) and marker.name and marker.name != place.name:
        return describe_value(value, _renamed(place, marker.name))
    if isinstance(marker, options.Dataset) and type(value) in (list, dict):
        return _as_table(value, place, describe_value)
    return _registered[options.Artifact](value, place) if isinstance(marker, options.Artifact) else None


def _renamed(place: Place, name: str | None) -> Place:
    """Give the place the name in its marker; the keys of its fields then start with it."""
    return replace(place, name=name, prefix=name, returned=False) if name else place


def _as_params(value: Any, place: Place) -> list[records.Record]:
    describer = find(type(value))
    if describer is not None and describer in part_by_part:  # the marker holds for each part
        return list(describer(value, place))
    if isinstance(value, type) or inspect.isroutine(value):
        return [records.Param(place.label, full_name(value))]
    known, data = plain(value)
    return [records.Param(place.label, as_text(data) if known else typed(value))]


def _as_metrics(value: Any, place: Place) -> list[records.Record]:
    if isinstance(value, Mapping) or type(value) in (list, tuple):
        return metrics.from_many(value, place)
    number = float(value) if type(value) is bool else metrics.number(value)
    return [] if number is None else [records.Metric(place.name, number)]


def _as_table(value: Any, place: Place, describe_value: _Describe) -> list[records.Record] | None:
    import pandas as pd

    try:
        table = pd.DataFrame(value)
    except (ValueError, TypeError):
        return None
    return describe_value(table, place)
