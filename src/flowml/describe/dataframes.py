"""pandas: frames, series and indexes as MLflow datasets."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from flowml import options, records
from flowml.describe import datasets, distribution
from flowml.describe.dispatch import register, register_lazy
from flowml.describe.place import Place
from flowml.describe.scalars import scalar
from flowml.describe.text import short

if TYPE_CHECKING:
    import pandas as pd

_VALUES_SEEN = 100  # of a column of Python objects, to tell its type


def frame(value: pd.DataFrame, place: Place) -> Iterator[records.Record]:
    """A frame: its columns, size and fingerprint; its content only when asked for."""
    if isinstance(place.marker, options.Artifact):
        yield from as_file(value, place)
        return
    yield described(value, place, "pandas.DataFrame")
    if datasets.is_saved(place):
        yield datasets.blob(place, ".parquet", parquet(value))


def described(value: pd.DataFrame, place: Place, kind: str, index: bool = True) -> records.Dataset:  # noqa: FBT001, FBT002
    """Describe a frame, or what was made one."""
    length, width = value.shape
    chosen = datasets.rows(length, width)
    part = (
        value if len(chosen) == length else value.iloc[list(chosen)]
    )  # rows first: columns first would copy whole ones
    part = part if width <= datasets.MOST_COLUMNS else part.iloc[:, list(datasets.columns(width))]
    schema = datasets.colspec(
        (value.columns[position], *_column(value.iloc[:, position], part_of=chosen))
        for position in range(min(width, datasets.MOST_COLUMNS))
    )
    names = "\n".join(map(short, value.columns[:100_000]))
    types = "\n".join(map(str, value.dtypes.iloc[:100_000]))
    fingerprint = datasets.digest(str((length, width)), types, names, *_content(part, index=index))
    profile = datasets.table_profile(length, width, len(chosen))
    if distribution.is_wanted(place):
        profile |= distribution.of_frame(part)
    return records.Dataset(place.name, place.role, fingerprint, kind, schema, profile)


def _content(part: pd.DataFrame, *, index: bool) -> Iterator[bytes]:
    """Fingerprint the rows that were chosen, column by column."""
    from pandas.util import hash_array, hash_pandas_object

    if index:
        try:
            yield hash_pandas_object(part.index).to_numpy().tobytes()
        except TypeError:
            yield "\n".join(map(short, part.index)).encode()
    for position in range(part.shape[1]):
        column = part.iloc[:, position]
        try:
            if column.dtype.kind in "biuf":  # a fast way, where there is one
                yield hash_array(column.to_numpy()).tobytes()
            else:
                yield hash_pandas_object(column, index=False).to_numpy().tobytes()
        except TypeError:  # lists and the like are not hashable
            yield "\n".join(short(item) for item in column).encode("utf-8", "backslashreplace")


def _column(column: pd.Series[Any], part_of: Any) -> tuple[Any, bool]:
    """Tell a column's MLflow type, and whether no value is missing among the rows looked at."""
    if len(part_of) < len(column):
        column = column.iloc[list(part_of)]
    return _type(column), not bool(column.isna().any())


def _type(column: pd.Series[Any]) -> Any:
    import pandas as pd

    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        column = dtype.categories.to_series()
        dtype = column.dtype
    if isinstance(dtype, pd.StringDtype):
        return "string"
    if isinstance(dtype, pd.SparseDtype):
        dtype = dtype.subtype
    kind, size = dtype.kind, getattr(dtype, "itemsize", 8)
    if kind == "O":
        return _type_of_objects([item for item in column.head(_VALUES_SEEN) if item is not None and item == item])  # noqa: PLR0124 - NaN
    return numeric_type(kind, size)


def numeric_type(kind: str, size: int) -> str:
    """Name NumPy's kinds of numbers as MLflow does."""
    if kind in "iu":
        return "integer" if size < 4 or (kind == "i" and size == 4) else "long"  # noqa: PLR2004
    if kind == "f":
        return "float" if size <= 4 else "double"  # noqa: PLR2004
    return {"b": "boolean", "U": "string", "T": "string", "S": "binary", "M": "datetime"}.get(kind, "any")


_OBJECTS: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "long"),
    (float, "double"),
    (str, "string"),
    (bytes, "binary"),
    (bytearray, "binary"),
    (dt.date, "datetime"),
)


def _type_of_objects(items: list[Any]) -> Any:
    """Tell the type that all objects share: "any" where they share none."""
    if not items:
        return "string"
    for kind, name in _OBJECTS:
        if all(isinstance(item, kind) for item in items):
            return name
    if all(isinstance(item, (list, tuple)) for item in items):
        inner = _type_of_objects([element for item in items for element in item[:_VALUES_SEEN] if element is not None])
        return {"type": "array", "items": inner if isinstance(inner, dict) else {"type": inner}}
    return "any"


def series(value: pd.Series[Any], place: Place) -> Iterator[records.Record]:
    """A series: a frame of one column."""
    table = value.to_frame(name=value.name if value.name is not None else 0)
    if isinstance(place.marker, options.Artifact):
        yield from as_file(table, place)
        return
    yield described(table, place, "pandas.Series")
    if datasets.is_saved(place):
        yield datasets.blob(place, ".parquet", parquet(table))


def _index(value: pd.Index[Any], place: Place) -> Iterator[records.Record]:
    yield described(value.to_frame(index=False), place, f"pandas.{type(value).__name__}")


def parquet(value: pd.DataFrame) -> bytes:
    """Give a frame's content as Parquet; it needs its column names to be text."""
    if not all(isinstance(name, str) for name in value.columns):
        value = value.set_axis([str(name) for name in value.columns], axis="columns")
    target = io.BytesIO()
    value.to_parquet(target)
    return target.getvalue()


def as_file(value: pd.DataFrame, place: Place) -> Iterator[records.Record]:
    """A frame as a file, in the form that the ending names."""
    path = place.path(".parquet")
    match PurePosixPath(path).suffix.lower():
        case ".csv":
            yield records.Text(path, value.to_csv())
        case ".json":
            yield records.Text(path, value.to_json(orient="split", date_format="iso"))
        case ".html":
            yield records.Text(path, value.to_html())
        case ".md" | ".txt":
            yield records.Text(path, value.to_string())
        case _:
            yield records.Blob(path, parquet(value))


def _missing(value: Any, place: Place) -> Iterator[records.Record]:
    yield records.Param(place.label, short(value))


def _load() -> None:
    import pandas as pd

    datasets.register_table(pd.DataFrame, frame)
    datasets.register_table(pd.Series, series)
    datasets.register_table(pd.Index, _index)
    register(pd.Timestamp, scalar)
    register(type(pd.NA), _missing)
    register(type(pd.NaT), _missing)


def register_all() -> None:
    """Register pandas, for when it is met."""
    register_lazy("pandas", _load)
