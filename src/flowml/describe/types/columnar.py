"""polars, Arrow and Hugging Face tables as MLflow datasets; what is lazy stays so."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flowml import options, records
from flowml.describe.dispatch import register, register_lazy
from flowml.describe.formats import tabular
from flowml.describe.place import Place
from flowml.describe.tables import by_column, cells, columns, dataset_parts
from flowml.describe.text import type_name
from flowml.describe.types.scalars import only_type
from flowml.describe.written import written
from flowml.errors import pass_on

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]


def _polars(value: pl.DataFrame, place: Place, kind: str = "polars.DataFrame") -> Iterator[records.Record]:
    if isinstance(place.marker, options.Artifact):
        yield from written(value, place, tabular.of_polars())
        return
    length, width = value.shape
    rows = dataset_parts.rows(length, min(width, dataset_parts.MOST_COLUMNS))
    known = (str(value.shape), str(value.dtypes), str(value.columns))
    yield by_column.described(place, kind, length, len(rows), _PolarsColumns(value, rows), *known)
    yield from dataset_parts.saved(place, ".parquet", lambda: tabular.of_polars()[".parquet"](value), _POLARS_REMEDY)


_POLARS_REMEDY = (
    "Give the columns that Parquet has no type for another one, such as text, or leave them out: "
    "frame.drop('x'). Or write the table to a file yourself and return its path."
)


def _polars_series(value: pl.Series, place: Place) -> Iterator[records.Record]:
    if isinstance(place.marker, options.Artifact):
        yield from written(value.to_frame(), place, tabular.of_polars(), "Series")
    else:
        yield from _polars(value.to_frame(), place, "polars.Series")


class _PolarsColumns:
    """A frame's columns, each with the rows that are looked at."""

    def __init__(self, frame: pl.DataFrame, rows: Sequence[int]) -> None:
        self.names = frame.columns
        self._frame = frame
        self._rows = None if len(rows) == frame.height else list(rows)

    def _column(self, at: int) -> pl.Series:
        whole = self._frame.to_series(at)
        return whole if self._rows is None else whole.gather(self._rows)

    def spec(self, at: int) -> tuple[Any, bool]:
        whole = self._frame.to_series(at)
        has_nan = whole.dtype.is_float() and bool(whole.is_nan().any())
        return _polars_type(whole.dtype), whole.null_count() == 0 and not has_nan

    def content(self, at: int) -> bytes:
        column = self._column(at)
        if not column.dtype.is_object():  # it would call the objects' own hash, which differs from process to process
            try:
                return column.hash(seed=0).to_numpy().tobytes()
            except BaseException as error:  # noqa: BLE001 - polars panics on types that it cannot hash
                pass_on(error)
        return cells.content(column.to_list())

    def numbers(self, at: int) -> Any:
        import polars as pl

        column = self._column(at)
        if not column.dtype.is_numeric():
            return None
        return column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()


def _polars_type(dtype: pl.DataType) -> Any:
    import polars as pl

    if isinstance(dtype, (pl.List, pl.Array)):
        inner = _polars_type(dtype.inner)  # type: ignore[arg-type]
        return {"type": "array", "items": inner if isinstance(inner, dict) else {"type": inner}}
    return _POLARS.get(dtype.base_type().__name__, "any")


_POLARS = {
    "Binary": "binary",
    "Boolean": "boolean",
    "Categorical": "string",
    "Date": "datetime",
    "Datetime": "datetime",
    "Enum": "string",
    "Float32": "float",
    "Float64": "double",
    "Int8": "integer",
    "Int16": "integer",
    "Int32": "integer",
    "Int64": "long",
    "String": "string",
    "UInt8": "integer",
    "UInt16": "integer",
    "UInt32": "long",
    "UInt64": "long",
}


def _arrow(value: pa.Table, place: Place, kind: str = "") -> Iterator[records.Record]:
    if isinstance(place.marker, options.Artifact):
        yield from _arrow_file(value, place)
        return
    yield _arrow_table(value, place, kind or f"pyarrow.{type(value).__name__}")
    yield from dataset_parts.saved(
        place, ".parquet", lambda: tabular.of_arrow()[".parquet"](_as_table(value)), _ARROW_REMEDY
    )


_ARROW_REMEDY = (
    "Cast the columns that Parquet has no type for, or leave them out: table.drop_columns(['x']). "
    "Or write the table to a file yourself and return its path."
)


def _arrow_file(value: Any, place: Place) -> Iterator[records.Record]:
    """A table, a piece of one or a column, as a file."""
    yield from written(_as_table(value), place, tabular.of_arrow(), type_name(type(value)))


def _as_table(value: Any) -> pa.Table:
    import pyarrow as pa

    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    return value if isinstance(value, pa.Table) else pa.table({"0": value})


def _arrow_table(value: Any, place: Place, kind: str) -> records.Dataset:
    length, width = value.num_rows, value.num_columns
    looked_at = len(dataset_parts.rows(length, min(width, dataset_parts.MOST_COLUMNS)))
    types = "\n".join(f"{field.name} {field.type}" for field in value.schema)
    columns = _ArrowColumns(value, looked_at)
    return by_column.described(place, kind, length, looked_at, columns, str((length, width)), types)


class _ArrowColumns:
    """A table's columns, each with pieces of it, evenly spread, which cost no copy of the rest."""

    def __init__(self, table: Any, looked_at: int) -> None:
        self.names = table.column_names
        self._table = table
        self._looked_at = looked_at

    def _column(self, at: int) -> Any:
        import pyarrow as pa

        whole, length = self._table.column(at), self._table.num_rows
        if self._looked_at == length:
            return whole
        pieces = min(100, self._looked_at)
        size = self._looked_at // pieces
        starts = [index * (length - size) // max(1, pieces - 1) for index in range(pieces)]
        slices = [whole.slice(start, size) for start in starts]
        chunks = [chunk for each in slices for chunk in (each.chunks if hasattr(each, "chunks") else [each])]
        return pa.chunked_array(chunks, type=whole.type)

    def spec(self, at: int) -> tuple[Any, bool]:
        column = self._table.column(at)
        return _arrow_type(column.type), column.null_count == 0

    def content(self, at: int) -> bytes:
        column = self._column(at)
        try:
            return columns.content_of(column.to_pandas())
        except BaseException as error:  # noqa: BLE001 - pandas has no such type, or no such value
            pass_on(error)
            return cells.content(column.to_pylist())

    def numbers(self, at: int) -> Any:
        return columns.numbers_of(self._column(at).to_pandas())


def _arrow_type(dtype: pa.DataType) -> Any:
    import pyarrow as pa

    if pa.types.is_dictionary(dtype):
        return _arrow_type(dtype.value_type)
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype):
        inner = _arrow_type(dtype.value_type)
        return {"type": "array", "items": inner if isinstance(inner, dict) else {"type": inner}}
    if pa.types.is_integer(dtype):
        return columns.numeric_type("i" if pa.types.is_signed_integer(dtype) else "u", dtype.bit_width // 8)
    tests = (
        (pa.types.is_boolean, "boolean"),
        (pa.types.is_float64, "double"),
        (pa.types.is_floating, "float"),
        (pa.types.is_string, "string"),
        (pa.types.is_large_string, "string"),
        (pa.types.is_binary, "binary"),
        (pa.types.is_large_binary, "binary"),
        (pa.types.is_timestamp, "datetime"),
        (pa.types.is_date, "datetime"),
    )
    return next((name for is_kind, name in tests if is_kind(dtype)), "any")


def _arrow_column(value: Any, place: Place) -> Iterator[records.Record]:
    import pyarrow as pa

    if isinstance(place.marker, options.Artifact):
        yield from _arrow_file(value, place)
    else:
        yield from _arrow(pa.table({"0": value}), place, f"pyarrow.{type(value).__name__}")


def _hugging_face(value: Any, place: Place) -> Iterator[records.Record]:
    """A Hugging Face dataset, which knows its own fingerprint."""
    if isinstance(place.marker, options.Artifact):
        yield from _arrow_file(value.with_format("arrow")[:], place)
        return
    schema = dataset_parts.colspec((name, _arrow_type(field.pa_type), True) for name, field in _flat(value.features))
    profile = dataset_parts.table_profile(value.num_rows, len(value.column_names), value.num_rows)
    fingerprint = dataset_parts.digest(str(getattr(value, "_fingerprint", "")), str(value.num_rows))
    yield records.Dataset(place.name, place.role, fingerprint, "datasets.Dataset", schema, profile)


def _flat(features: Any) -> Iterator[tuple[str, Any]]:
    for name, feature in list(features.items())[: dataset_parts.MOST_COLUMNS]:
        if hasattr(feature, "pa_type"):
            yield name, feature


def _load_polars() -> None:
    import polars as pl

    dataset_parts.register_table(pl.DataFrame, _polars)
    dataset_parts.register_table(pl.Series, _polars_series)
    register(pl.LazyFrame, only_type)


def _load_arrow() -> None:
    import pyarrow as pa

    dataset_parts.register_table(pa.Table, _arrow)
    dataset_parts.register_table(pa.RecordBatch, _arrow)
    dataset_parts.register_table(pa.ChunkedArray, _arrow_column)
    dataset_parts.register_table(pa.Array, _arrow_column)


def _load_hugging_face() -> None:
    dataset_parts.register_table(sys.modules["datasets.arrow_dataset"].Dataset, _hugging_face)


def register_all() -> None:
    """Register each library for when it is met."""
    register_lazy("polars", _load_polars)
    register_lazy("pyarrow", _load_arrow)
    register_lazy("datasets.arrow_dataset", _load_hugging_face)
