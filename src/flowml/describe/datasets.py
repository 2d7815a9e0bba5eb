"""What the describers of tables and arrays share: the sample, the fingerprint, MLflow's form of a schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from flowml import options, records
from flowml.describe.dispatch import Describer, find, register
from flowml.describe.metrics import sampled
from flowml.describe.place import Place
from flowml.describe.secrets import mask
from flowml.describe.text import clean, key_text

tables: set[Describer] = set()
"""The describers of tables and arrays: numbers that stand beside what they serve are a target, not a history."""

MOST_ROWS = 10_000  # that are looked at
MOST_CELLS = 200_000
MOST_COLUMNS = 1_000


def register_table(kind: type, describer: Describer) -> None:
    """Register the describer of a type of table or array."""
    register(kind, describer)
    tables.add(describer)


def any_table(values: Iterable[Any]) -> bool:
    """Tell whether a table or an array is among the values."""
    return any(find(type(value)) in tables and getattr(value, "ndim", 1) != 0 for value in values)


def rows(length: int, width: int) -> Sequence[int]:
    """Give the positions of the rows to look at, evenly spread: all of a small table."""
    return sampled(length, max(2, min(MOST_ROWS, MOST_CELLS // max(1, width))))


def cells(length: int) -> Sequence[int]:
    """Give the positions of the values of an array or list to look at, evenly spread: all of a small one."""
    return range(length) if length <= MOST_CELLS else sampled(length, MOST_ROWS)


def columns(width: int) -> Sequence[int]:
    """Give the positions of the columns whose content is looked at."""
    return sampled(width, MOST_COLUMNS)


def digest(*parts: bytes | str) -> str:
    """Give the fingerprint of what says which data it is; the same in each process."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "backslashreplace") if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big"))
        whole.update(data)
    return whole.hexdigest()[:32]


def colspec(types: Iterable[tuple[Any, Any, bool]]) -> dict[str, Any]:
    """Write columns, each with its name, MLflow type and whether it has no gaps, as MLflow does."""
    specs = []
    for name, kind, required in types:
        form = kind if isinstance(kind, dict) else {"type": kind}
        known_as = name if type(name) is int else mask(clean(key_text(name)))
        specs.append({**form, "name": known_as, "required": required})
    return {"mlflow_colspec": specs}


def tensorspec(dtype: str, shape: Sequence[int]) -> dict[str, Any]:
    """Write an array's type and shape as MLflow does: any number of rows."""
    spec = [{"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": [-1, *shape[1:]]}}]
    return {"mlflow_tensorspec": {"features": json.dumps(spec), "targets": None}}


def table_profile(length: int, width: int, looked_at: int) -> dict[str, Any]:
    """Say how large a table is, and how much of it was looked at when not all."""
    profile = {"num_rows": length, "num_elements": length * width}
    if looked_at < length:
        profile["sampled_rows"] = looked_at
    if width > MOST_COLUMNS:
        profile["num_columns"] = width
        profile["schema_columns"] = MOST_COLUMNS
    return profile


def is_saved(place: Place) -> bool:
    """Whether the user wants the content stored as well."""
    return isinstance(place.marker, options.Dataset) and place.marker.save


def blob(place: Place, suffix: str, data: bytes) -> records.Blob:
    """Put a dataset's content among the artifacts."""
    return records.Blob(place.path(suffix, "data"), data)
