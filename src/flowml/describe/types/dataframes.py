"""pandas: frames, series and indexes as MLflow datasets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flowml import options, records
from flowml.describe.dispatch import register, register_lazy
from flowml.describe.formats import tabular
from flowml.describe.place import Place
from flowml.describe.tables import by_column, cells, dataset_parts
from flowml.describe.tables.columns import PandasColumns, is_hashed_whole
from flowml.describe.text import short, type_name
from flowml.describe.types.scalars import scalar
from flowml.describe.written import written
from flowml.errors import pass_on

if TYPE_CHECKING:
    import pandas as pd

_MOST_NAMES = 100_000
REMEDY = (
    "Give the columns that Parquet has no type for another one, such as text: frame.astype({'x': str}). "
    "Or write the table to a file yourself and return its path."
)


def frame(value: pd.DataFrame, place: Place) -> Iterator[records.Record]:
    """A frame: its columns, size and fingerprint; its content only when asked for."""
    if isinstance(place.marker, options.Artifact):
        yield from written(value, place, tabular.of_pandas())
        return
    yield from _saved(value, place, "pandas.DataFrame")


def _saved(value: pd.DataFrame, place: Place, kind: str) -> Iterator[records.Record]:
    yield described(value, place, kind)
    yield from dataset_parts.saved(place, ".parquet", lambda: tabular.parquet(value), REMEDY)


def described(value: pd.DataFrame, place: Place, kind: str) -> records.Dataset:
    """Describe a frame, or what was made one."""
    length, width = value.shape
    chosen = dataset_parts.rows(length, width)
    rows = None if len(chosen) == length else list(chosen)
    types = "\n".join(map(_dtype_name, value.dtypes.iloc[:_MOST_NAMES]))
    names = "\n".join(map(short, value.columns[:_MOST_NAMES]))
    index = _content_of_index(value.index if rows is None else value.index[rows])
    columns = PandasColumns(value, rows)
    return by_column.described(place, kind, length, len(chosen), columns, str((length, width)), types, names, index)


def _dtype_name(dtype: Any) -> str:
    try:
        return str(dtype)
    except BaseException as error:  # noqa: BLE001 - a type of somebody's own may raise anything
        pass_on(error)
        return type_name(type(dtype))


def _content_of_index(index: pd.Index[Any]) -> bytes:
    from pandas.util import hash_pandas_object

    try:
        if is_hashed_whole(index):
            return hash_pandas_object(index).to_numpy().tobytes()
    except BaseException as error:  # noqa: BLE001 - of classes of the user's in it
        pass_on(error)
    return cells.content(list(index))


def series(value: pd.Series[Any], place: Place) -> Iterator[records.Record]:
    """A series: a frame of one column."""
    table = value.to_frame(name=value.name if value.name is not None else 0)
    if isinstance(place.marker, options.Artifact):
        yield from written(table, place, tabular.of_pandas(), type_name(type(value)))
        return
    yield from _saved(table, place, "pandas.Series")


def _index(value: pd.Index[Any], place: Place) -> Iterator[records.Record]:
    table = value.to_frame(index=False)
    if isinstance(place.marker, options.Artifact):
        yield from written(table, place, tabular.of_pandas(), type_name(type(value)))
    else:
        yield from _saved(table, place, f"pandas.{type(value).__name__}")


def _missing(value: Any, place: Place) -> Iterator[records.Record]:
    yield records.Param(place.label, short(value))


def _load() -> None:
    import pandas as pd

    dataset_parts.register_table(pd.DataFrame, frame)
    dataset_parts.register_table(pd.Series, series)
    dataset_parts.register_table(pd.Index, _index)
    register(pd.Timestamp, scalar)
    register(type(pd.NA), _missing)
    register(type(pd.NaT), _missing)


def register_all() -> None:
    """Register pandas, for when it is met."""
    register_lazy("pandas", _load)
