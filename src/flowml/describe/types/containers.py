"""Lists, tuples, mappings, sets: one parameter where they are plain, else each element by its own type."""

from __future__ import annotations

import array
import collections
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any

from flowml import records
from flowml.describe import hints, metrics
from flowml.describe.dispatch import find, lists, part_by_part, register, register_abstract
from flowml.describe.place import Place
from flowml.describe.plain import MOST_ITEMS, plain
from flowml.describe.tables import dataset_parts
from flowml.describe.text import as_json, cut, scalar_text, short, type_name
from flowml.describe.types import arrays
from flowml.describe.types.scalars import only_type, text
from flowml.describe.values import describe

MOST_KEYS = 10_000  # of one mapping that are looked at
MOST_PARTS = 100  # frames, models, figures of one list that are each described


def mapping(value: Any, place: Place) -> Iterator[records.Record]:
    """Each item by its own type."""
    is_dict = isinstance(value, dict)
    count = dict.__len__(value) if is_dict else len(value)
    if count == 0:
        if place.shows_empty:
            yield records.Param(place.label, "{}")
        return
    hint = hints.of_item(place.annotation)
    items = dict.items(value) if is_dict else value.items()
    shown = list(islice(items, MOST_KEYS))
    beside = dataset_parts.any_table(item for _, item in shown)
    for key, item in shown:
        yield from describe(item, place.child(key, value, annotation=hint, beside=beside))
    if count > MOST_KEYS:
        yield records.Tag(f"flowml.cut.{place.name}", f"the first {MOST_KEYS:,} of {count:,} keys")


def sequence(value: Any, place: Place) -> Iterator[records.Record]:
    """A list: numbers are a metric's history, scalars one parameter, all else is described one by one."""
    if place.beside and (target := _target(value, place)) is not None:
        yield target
        return
    items = value if type(value) is list else list(islice(_iterate(value), MOST_KEYS))
    found = metrics.history(items, place) if place.role == "output" and items else None
    yield from _elements(items, value, place) if found is None else found


def tuple_(value: Any, place: Place) -> Iterator[records.Record]:
    """A tuple: as an output, each element by its own type."""
    items = tuple.__getitem__(value, slice(None))
    if place.beside and (target := arrays.numbers(items, place)) is not None:
        yield target
        return
    if place.role == "input" or not items:
        yield from _elements(items, value, place)
        return
    if len(items) > MOST_ITEMS:
        yield from sequence(list(items), place)
        return
    annotations = [hints.of_element(place.annotation, index) for index in range(len(items))]
    only = _only_mapping(items, annotations) if place.returned else None
    beside = dataset_parts.any_table(items)
    for index, (item, hint) in enumerate(zip(items, annotations, strict=True)):
        yield from describe(item, place.element(index, value, annotation=hint, bare=index == only, beside=beside))


def _only_mapping(items: tuple[Any, ...], annotations: list[Any]) -> int | None:
    """Find the mapping whose keys need no prefix to be told apart: one that has a marker is spoken for."""
    mappings = [index for index, item in enumerate(items) if isinstance(item, dict)]
    plain_ones = [index for index in mappings if hints.marker_in(annotations[index]) is None]
    only = plain_ones or mappings
    return only[0] if len(only) == 1 else None


def _elements(items: Any, value: Any, place: Place) -> Iterator[records.Record]:
    """One parameter for what JSON can hold; else what is more than a scalar one by one, and the rest in short."""
    known, data = plain(items)
    if known:
        yield from text(as_json(data), place)
        return
    kinds = {type(item) for item in items}
    if kinds and all(find(kind) is only_type for kind in kinds):  # futures, for one
        names = ", ".join(sorted(map(type_name, kinds)))
        yield records.Param(place.label, cut(f"{type_name(type(value))} of {_length(value):,}: {names}"))
        return
    shown = list(items[:MOST_ITEMS])
    rows = {_height(item) for item in shown if dataset_parts.any_table([item])}
    parts = 0
    for index, item in enumerate(shown):
        below = place.element(index, value, annotation=hints.of_element(place.annotation, index), beside=bool(rows))
        if parts < MOST_PARTS and rows and (found := _column(item, rows, below)):
            yield found
        elif parts < MOST_PARTS and (_is_rich(item) or (rows and _target(item, below) is not None)):
            yield from describe(item, below)
        else:
            continue
        shown[index] = _Described(item)
        parts += 1
    count = _length(value)
    if parts < count:
        yield records.Param(
            place.label,
            cut(
                f"{type_name(type(value))} of {count:,}: {short(tuple(shown) if type(items) is tuple else shown, 200)}"
            ),
        )


class _Described:
    """Stands for an element that is described by itself."""

    def __init__(self, item: Any) -> None:
        self._name = type_name(type(item))

    def __repr__(self) -> str:
        return self._name


def _column(item: Any, rows: Collection[int | None], place: Place) -> records.Record | None:
    """Describe a list of scalars beside a table with as many rows as what it is, a column of it."""
    if type(item) not in (list, tuple) or len(item) not in rows:
        return None
    are_scalars = all(scalar_text(each) is not None for each in arrays.looked_at(item))
    return arrays.column(item, place) if are_scalars else None


def _height(table: Any) -> int | None:
    shape = getattr(table, "shape", None)
    return shape[0] if isinstance(shape, tuple) and shape else None


def _target(value: Any, place: Place) -> records.Record | None:
    """Describe many numbers as the dataset that they are beside a table or as an argument."""
    kind = next((kind for kind in (list, tuple, array.array) if isinstance(value, kind)), None)
    if kind is None or hasattr(type(value), "_fields"):
        return None
    return arrays.numbers(value if type(value) is kind else kind.__getitem__(value, slice(None)), place)


def _is_rich(item: Any) -> bool:
    """Tell whether it is worth records of its own: a frame, a model, a figure, a user's registered type."""
    kind = type(item)
    if kind in _POOR or scalar_text(item) is not None:
        return False
    describer = find(kind)
    return describer is not None and describer not in (mapping, sequence, tuple_, set_)


_POOR = frozenset({dict, list, tuple, set, frozenset, str, int, float, bool, type(None), bytes})


def set_(value: Any, place: Place) -> Iterator[records.Record]:
    """A set, in an order which does not change from run to run."""
    known, data = plain(frozenset(_iterate(value))) if _length(value) <= MOST_ITEMS else (False, None)
    if known:
        yield from text(as_json(data), place)
    else:
        yield records.Param(place.label, cut(f"{type_name(type(value))} of {_length(value):,}: {short(value, 200)}"))


_STANDARD: tuple[Any, ...] = (list, tuple, set, frozenset, collections.deque, array.array)


def _iterate(value: Any) -> Iterator[Any]:
    """Iterate past whatever a subclass does to ``__iter__``."""
    kind = next(kind for kind in _STANDARD if kind in type(value).__mro__)
    return iter(kind.__iter__(value))


def _length(value: Any) -> int:
    """Count past whatever a subclass does to ``__len__``."""
    kind = next(kind for kind in _STANDARD if kind in type(value).__mro__)
    return int(kind.__len__(value))


def register_all() -> None:
    """Register the standard containers."""
    register(dict, mapping)
    register(list, sequence)
    register(collections.deque, sequence)
    register(array.array, sequence)
    register(tuple, tuple_)
    register(set, set_)
    register(frozenset, set_)
    register_abstract(lambda kind: issubclass(kind, Mapping) and kind.__module__ != "os", mapping)
    part_by_part.add(mapping)
    lists.add(sequence)
