"""Single values: numbers, texts, dates, members of enumerations, functions, types."""

from __future__ import annotations

import enum
import functools
import os
import types
from collections.abc import Iterator
from typing import Any

from flowml import options, records
from flowml.describe import metrics
from flowml.describe.dispatch import register, register_shape
from flowml.describe.formats import nests
from flowml.describe.place import Place
from flowml.describe.text import SHORT, TEXTS, full_name, scalar_text, type_name
from flowml.describe.written import Formats, written, written_text
from flowml.secrets import MASK, is_secret, mask
from flowml.storable import clean

LONGEST = 10_000_000  # characters of one text that are kept


def scalar(value: Any, place: Place) -> list[records.Record]:
    """A parameter; as an output a number is a metric, and a long text a file."""
    if place.role == "output":
        if value is None:
            return []
        number = metrics.number(value) if place.marker is None else None
        if number is not None:
            return [records.Metric(place.name, number)]
    if isinstance(place.marker, options.Artifact) and not isinstance(value, str):
        return list(written(value, place, _FORMATS))
    return text(scalar_text(value) or "", place)


_FORMATS: Formats = {
    ".txt": lambda value: scalar_text(value) or "",
    ".json": nests.json_text,
    ".yaml": nests.json_text,  # which is YAML too
}


def text(value: str, place: Place) -> list[records.Record]:
    """Text as a parameter, or as a file where it is an output and too long for a table."""
    if len(value) > LONGEST:
        value = f"{value[:LONGEST]}\n… cut by flowml: {len(value):,} characters in all\n"
    if place.role == "output" and is_secret(value):
        if place.hidden:
            place.hidden.note(place.name)
        return []
    if isinstance(place.marker, options.Artifact) or (place.role == "output" and len(value) > SHORT):
        return list(written_text(mask(clean(value)), place))
    return [records.Param(place.label, value)]


def _callable(value: Any, place: Place) -> Iterator[records.Record]:
    if isinstance(value, functools.partial):
        yield records.Param(place.label, f"partial({full_name(value.func)})")
    else:
        yield records.Param(place.label, full_name(value))


def secret(_value: Any, place: Place) -> Iterator[records.Record]:
    """A type made to hide its value."""
    if place.role == "input":
        yield records.Param(place.label, MASK)
    elif place.hidden:
        place.hidden.note(place.name)


def only_type(value: Any, place: Place) -> Iterator[records.Record]:
    """A value of which nothing but its type is of interest."""
    yield records.Param(place.label, type_name(type(value)))


def register_all() -> None:
    """Register what is in the standard library."""
    for kind in TEXTS:
        register(kind, scalar)
    for kind in (
        types.FunctionType,
        types.BuiltinFunctionType,
        types.MethodType,
        type,
        functools.partial,
        types.ModuleType,
    ):
        register(kind, _callable)
    register(type(os.environ), only_type)  # its values are anyone's secrets
    register_shape(lambda kind: isinstance(kind, enum.EnumMeta), scalar)
