"""Values with named fields: dataclasses, named tuples, attrs classes and pydantic models."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from flowml import options, records
from flowml.describe import hints, markers
from flowml.describe.dispatch import Describer, part_by_part, register, register_lazy, register_shape
from flowml.describe.formats import nest_files, nests
from flowml.describe.place import Place
from flowml.describe.tables import dataset_parts
from flowml.describe.text import type_name
from flowml.describe.types.scalars import secret
from flowml.describe.values import describe


def _describer(names: Callable[[type], Iterable[str]]) -> Describer:
    """Make the describer of a family of classes from the way to their fields' names."""

    def fields(value: Any, place: Place) -> Iterator[records.Record]:
        kind = type(value)
        annotations = hints.of_fields(kind)
        items = {}
        for name in names(kind):
            with suppress(AttributeError):  # a field that was never set
                items[name] = object.__getattribute__(value, name)
        beside = dataset_parts.any_table(items.values())
        for name, item in items.items():
            yield from describe(item, place.child(name, value, annotation=annotations.get(name), beside=beside))
        if not items and place.shows_empty:
            yield records.Param(place.label, f"{type_name(kind)}()")

    part_by_part.add(fields)
    return fields


def _pydantic(value: Any, place: Place) -> Iterator[records.Record]:
    annotations = {name: _with_metadata(field) for name, field in type(value).__pydantic_fields__.items()}
    fields = {**value.__dict__, **(value.__pydantic_extra__ or {})}
    if not fields and place.shows_empty:
        yield records.Param(place.label, f"{type_name(type(value))}()")
    beside = dataset_parts.any_table(fields.values())
    for name, item in fields.items():
        yield from describe(item, place.child(name, value, annotation=annotations.get(name), beside=beside))


def _with_metadata(field: Any) -> Any:
    """Put pydantic's field back into the form in which it was annotated."""
    from typing import Annotated

    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _load_pydantic() -> None:
    from pydantic import BaseModel

    register(BaseModel, _pydantic)
    part_by_part.add(_pydantic)


def _load_pydantic_secrets() -> None:
    types = sys.modules["pydantic.types"]
    for name in ("Secret", "SecretStr", "SecretBytes"):
        register(getattr(types, name), secret)


def register_all() -> None:
    """Register the shapes, pydantic for when it is met, and how parts are written as one file."""
    markers.register(options.Artifact, nest_files.as_file)
    for has_shape, names in nests.FIELDS:
        register_shape(has_shape, _describer(names))
    register_lazy("pydantic.main", _load_pydantic)
    register_lazy("pydantic.types", _load_pydantic_secrets)
