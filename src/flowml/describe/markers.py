"""Values whose annotation says how they are logged: the marker wins over the type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from flowml import options, records
from flowml.describe import metrics
from flowml.describe.place import DEEPEST, Place
from flowml.describe.plain import plain
from flowml.describe.secrets import MASK
from flowml.describe.text import as_json, clean, short, typed

_Describe: TypeAlias = Callable[[Any, Place], list[records.Record]]


def describe(value: Any, place: Place, describe_value: _Describe) -> list[records.Record] | None:  # noqa: PLR0911 - one line for each case
    """Describe a value as its marker says; None leaves it to the describer of its type."""
    marker = place.marker
    if isinstance(marker, options.Param):
        return _as_params(value, _renamed(place, marker.name))
    if isinstance(marker, options.Metric):
        found = _as_metrics(value, _renamed(place, marker.name))
        if found:
            return found
        return describe_value(value, replace(_renamed(place, marker.name), marker=None))
    if isinstance(marker, options.Model):
        return _as_model(value, _renamed(place, marker.name))
    if isinstance(marker, options.Dataset) and marker.name and marker.name != place.name:
        return describe_value(value, _renamed(place, marker.name))
    if isinstance(marker, options.Dataset) and type(value) in (list, dict):
        return _as_table(value, place, describe_value)
    if isinstance(marker, options.Artifact) and type(value) in (list, tuple, dict, set, frozenset):
        known, data = plain(value, most=100_000)
        return [records.Text(place.path(".json"), as_json(data) if known else typed(value))]
    return None


def _renamed(place: Place, name: str | None) -> Place:
    """Give the place the name in its marker; the keys of its fields then start with it."""
    return replace(place, name=name, prefix=name, returned=False) if name else place


def _as_params(value: Any, place: Place) -> list[records.Record]:
    if type(value) is dict and value:
        found: list[records.Record] = []
        for key, item in list(value.items())[:10_000]:
            below = place.child(key, value)
            if id(item) in below.above or below.depth > DEEPEST:
                found.append(records.Param(below.name, short(item)))
            else:
                found += _as_params(item, below)
        return found
    if place.is_secret and value is not None:
        return [records.Param(place.label, MASK)]
    known, data = plain(value)
    if isinstance(data, str):
        return [records.Param(place.label, clean(data))]
    return [records.Param(place.label, as_json(data) if known else typed(value))]


def _as_metrics(value: Any, place: Place) -> list[records.Record]:
    if isinstance(value, Mapping) or type(value) in (list, tuple):
        return metrics.from_many(value, place)
    number = float(value) if type(value) is bool else metrics.number(value)
    return [] if number is None else [records.Metric(place.name, number)]


def _as_model(value: Any, place: Place) -> list[records.Record] | None:
    from flowml.describe import models

    return models.marked(value, place)


def _as_table(value: Any, place: Place, describe_value: _Describe) -> list[records.Record] | None:
    import pandas as pd

    try:
        table = pd.DataFrame(value)
    except (ValueError, TypeError):
        return None
    return describe_value(table, place)
