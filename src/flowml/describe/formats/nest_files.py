"""Lists, mappings and what has named fields as files: text, and tables and arrays where they can be one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flowml import records
from flowml.describe.dispatch import find, part_by_part
from flowml.describe.formats import nests, tabular
from flowml.describe.hiding import hides_item
from flowml.describe.place import Hidden, Place
from flowml.describe.text import key_text, type_name
from flowml.describe.written import Formats, as_text, written
from flowml.secrets import MASK, mask

if TYPE_CHECKING:
    import pandas as pd


def as_file(value: Any, place: Place) -> list[records.Record] | None:
    """Write a list, a mapping or what has fields as one file; the other types' describers write theirs."""
    found = nests.parts(value)
    if found is None:
        return None
    return list(written(found, place, of_parts(found, place.hidden), type_name(type(value))))


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
        ".json": nests.json_text,
        ".jsonl": _lines if isinstance(value, list) else as_table(".jsonl"),
        ".yaml": _yaml,
        ".yml": _yaml,
        ".csv": as_text(lambda value: _frame(value, hidden).to_csv(index=False)),
        ".tsv": as_text(lambda value: _frame(value, hidden).to_csv(index=False, sep="\t")),
        **{ending: as_table(ending) for ending in (".parquet", ".feather", ".xlsx", ".html") if ending in tables},
        ".npy": as_array(".npy"),
        ".npz": (lambda value: _archive(value, hidden)) if isinstance(value, dict) else as_array(".npz"),
        ".md": lambda value: f"```json\n{nests.json_text(value)}\n```\n",
        ".txt": nests.json_text,
    }


def _lines(value: list[Any]) -> str:
    return "".join(f"{nests.json_text(item)}\n" for item in value)


def _yaml(value: Any) -> str:
    import yaml

    # What is masked has to be in quotes here.
    return str(yaml.safe_dump(json.loads(mask(nests.json_text(value))), allow_unicode=True, sort_keys=False))


def _frame(value: Any, hidden: Hidden | None) -> pd.DataFrame:
    import pandas as pd

    rows = [
        nests.fields(row) if find(type(row)) in part_by_part and not isinstance(row, Mapping) else row for row in value
    ]
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
