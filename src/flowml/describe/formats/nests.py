"""The formats of lists, mappings and what has named fields."""

from __future__ import annotations

import array
import collections
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flowml import options, records
from flowml.describe import hints
from flowml.describe.dispatch import find, part_by_part
from flowml.describe.formats import tabular
from flowml.describe.hiding import hides_item
from flowml.describe.place import Hidden, Place
from flowml.describe.plain import plain
from flowml.describe.tables import dataset_parts
from flowml.describe.text import key_text, type_name, typed
from flowml.describe.values import describe
from flowml.describe.written import Formats, as_text
from flowml.secrets import MASK, mask
from flowml.storable import clean

if TYPE_CHECKING:
    import pandas as pd

_MOST = 1_000_000  # values of one nest that are written
_DEEPEST = 100
_LISTS: tuple[Any, ...] = (list, tuple, set, frozenset, collections.deque, array.array)

FIELDS: tuple[tuple[Callable[[type], bool], Callable[[Any], Iterable[str]]], ...] = (
    (lambda kind: "__attrs_attrs__" in kind.__dict__, lambda kind: [field.name for field in kind.__attrs_attrs__]),
    (lambda kind: "__dataclass_fields__" in kind.__dict__, lambda kind: kind.__dataclass_fields__),
    (lambda kind: issubclass(kind, tuple) and "_fields" in kind.__dict__, lambda kind: kind._fields),
)
"""How a class with named fields is known, and the way to their names."""


def parts(value: Any) -> dict[Any, Any] | list[Any] | None:
    """Give the items of a list, a mapping or what has fields; None for all else, also for what hides its fields."""
    kind = type(value)
    describer = find(kind)
    for base in _LISTS:
        if isinstance(value, base) and describer is find(base):
            items = list(base.__iter__(value))
            return sorted(items, key=repr) if base in (set, frozenset) else items
    if describer not in part_by_part:
        return None
    return dict(value.items()) if isinstance(value, Mapping) else _fields(value)


def _fields(value: Any) -> dict[Any, Any]:
    kind = type(value)
    annotations = hints.of_fields(kind)
    if hasattr(kind, "__pydantic_fields__"):
        names: Iterable[str] = [*value.__dict__, *(value.__pydantic_extra__ or {})]
    else:
        names = next(names for has_shape, names in FIELDS if any(map(has_shape, kind.__mro__[:-1])))(kind)
    shown = [name for name in names if type(hints.marker_in(annotations.get(name))) is not options.Skip]
    return {name: getattr(value, name) for name in shown if hasattr(value, name)}


def of_parts(value: Any, hidden: Hidden | None = None) -> Formats:
    """Give the formats of what `parts` gave: those of a table where it can be one.

    Args:
        value: What `parts` gave.
        hidden: Counts the secrets in what is no text when it is written; in a text they are counted later.
    """
    tables = tabular.of_pandas()
    arrays = tabular.of_numpy()

    def as_table(ending: str) -> Callable[[Any], str | bytes]:
        return lambda value: tables[ending](_frame(value, hidden))

    def as_array(ending: str) -> Callable[[Any], str | bytes]:
        return lambda value: arrays[ending](_array(value))

    return {
        ".json": json_text,
        ".jsonl": _lines if isinstance(value, list) else as_table(".jsonl"),
        ".yaml": _yaml,
        ".yml": _yaml,
        ".csv": as_text(lambda value: _frame(value, hidden).to_csv(index=False)),
        ".tsv": as_text(lambda value: _frame(value, hidden).to_csv(index=False, sep="\t")),
        **{ending: as_table(ending) for ending in (".parquet", ".feather", ".xlsx", ".html") if ending in tables},
        ".npy": as_array(".npy"),
        ".npz": (lambda value: _archive(value, hidden)) if isinstance(value, dict) else as_array(".npz"),
        ".md": lambda value: f"```json\n{json_text(value)}\n```\n",
        ".txt": json_text,
    }


def json_text(value: Any) -> str:
    """Write any value as JSON: objects by their fields, arrays as lists, what it has no word for as null or in short.

    Raises:
        ValueError: If it is too much.
    """
    return clean(json.dumps(_jsonable(value, [_MOST], ()), ensure_ascii=False, allow_nan=False))


def _jsonable(value: Any, left: list[int], above: tuple[int, ...]) -> Any:  # noqa: PLR0911 - one line for each case
    left[0] -= 1
    if left[0] < 0:
        msg = f"it holds more than {_MOST:,} values; write it yourself, and return the file's Path"
        raise ValueError(msg)
    if value is None or type(value) in (bool, int, str):
        return plain(value)[1]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if len(above) > _DEEPEST or id(value) in above:
        return typed(value)
    inside = (*above, id(value))
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return _jsonable(value.tolist(), left, inside)
    items = parts(value)
    if isinstance(items, list):
        return [_jsonable(item, left, inside) for item in items]
    if items is not None:
        return {key_text(key): _item(key_text(key), item, left, inside) for key, item in items.items()}
    known, data = plain(value)
    return data if known else _in_short(value)


def _item(key: str, value: Any, left: list[int], above: tuple[int, ...]) -> Any:
    return MASK if hides_item(key, value) else _jsonable(value, left, above)


def _in_short(value: Any) -> str:
    """Show a value as an argument is shown: credentials by their type alone."""
    if find(type(value)) in dataset_parts.tables:
        return typed(value)
    found = [record for record in describe(value, Place("value", "input")) if isinstance(record, records.Param)]
    return found[0].value if found else type_name(type(value))


def _lines(value: list[Any]) -> str:
    return "".join(f"{json_text(item)}\n" for item in value)


def _yaml(value: Any) -> str:
    import yaml

    # What is masked has to be in quotes here.
    return str(yaml.safe_dump(json.loads(mask(json_text(value))), allow_unicode=True, sort_keys=False))


def _frame(value: Any, hidden: Hidden | None) -> pd.DataFrame:
    import pandas as pd

    rows = [_fields(row) if find(type(row)) in part_by_part and not isinstance(row, Mapping) else row for row in value]
    table = pd.DataFrame(value if isinstance(value, dict) else rows)
    for at, (name, dtype) in enumerate(zip(table.columns, table.dtypes, strict=True)):
        like = 0.0 if pd.api.types.is_numeric_dtype(dtype) else "text"
        if hides_item(key_text(name), like):
            table.isetitem(at, MASK)
            _count(hidden, len(table))
    return table


def _count(hidden: Hidden | None, masked: int) -> None:
    if hidden:
        hidden.add(masked)


def _array(value: Any) -> Any:
    import numpy as np

    return np.asarray(value)


def _archive(value: dict[Any, Any], hidden: Hidden | None) -> bytes:
    import io

    import numpy as np

    target = io.BytesIO()
    shown = {
        name: MASK if hides_item(name, item) else item
        for name, item in ((key_text(key), item) for key, item in value.items())
    }
    _count(hidden, sum(item is MASK for item in shown.values()))
    arrays: dict[str, Any] = {name: np.asarray(item) for name, item in shown.items()}
    np.savez_compressed(target, allow_pickle=False, **arrays)
    return target.getvalue()
