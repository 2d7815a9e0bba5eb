"""polars, Arrow and Hugging Face tables as MLflow datasets; what is lazy stays so."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from flowml import options, records
from flowml.describe import dataframes, datasets, distribution
from flowml.describe.dispatch import register, register_lazy
from flowml.describe.place import Place
from flowml.describe.scalars import only_type

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]


def _polars(value: pl.DataFrame, place: Place) -> Iterator[records.Record]:
    if isinstance(place.marker, options.Artifact):
        yield _polars_file(value, place)
        return
    yield _polars_table(value, place, "polars.DataFrame")
    if datasets.is_saved(place):
        target = io.BytesIO()
        value.write_parquet(target)
        yield datasets.blob(place, ".parquet", target.getvalue())


def _polars_series(value: pl.Series, place: Place) -> Iterator[records.Record]:
    yield _polars_table(value.to_frame(), place, "polars.Series")


def _polars_table(value: pl.DataFrame, place: Place, kind: str) -> records.Dataset:
    length, width = value.shape
    chosen = datasets.rows(length, min(width, datasets.MOST_COLUMNS))
    part = value[:, list(datasets.columns(width))] if width > datasets.MOST_COLUMNS else value
    part = part[list(chosen)] if len(chosen) < length else part
    names = value.columns[: datasets.MOST_COLUMNS]
    schema = datasets.colspec((name, _polars_type(value.schema[name]), _has_values(value, name)) for name in names)
    fingerprint = datasets.digest(str(value.shape), str(value.dtypes), str(value.columns), *_polars_content(part))
    profile = datasets.table_profile(length, width, len(chosen))
    if distribution.is_wanted(place):
        numeric = ((column.name, column) for column in part.iter_columns() if column.dtype.is_numeric())
        profile |= distribution.of_columns((name, _polars_floats(column)) for name, column in numeric)
    return records.Dataset(place.name, place.role, fingerprint, kind, schema, profile)


def _polars_floats(column: pl.Series) -> Any:
    import polars as pl

    return column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()


def _has_values(value: pl.DataFrame, name: str) -> bool:
    """Tell whether a column has any value: what MLflow means by required here."""
    return value[name].count() > 0


def _polars_content(part: pl.DataFrame) -> Iterator[bytes]:
    for column in part.iter_columns():
        try:
            yield column.hash(seed=0).to_numpy().tobytes()
        except Exception:  # noqa: BLE001 - polars panics on types that it cannot hash
            yield str(column.to_list()).encode("utf-8", "backslashreplace")


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


def _polars_file(value: pl.DataFrame, place: Place) -> records.Record:
    path = place.path(".parquet")
    match PurePosixPath(path).suffix.lower():
        case ".csv":
            return records.Text(path, value.write_csv())
        case ".json":
            return records.Text(path, value.write_json())
    target = io.BytesIO()
    value.write_parquet(target)
    return records.Blob(path, target.getvalue())


def _arrow(value: pa.Table, place: Place) -> Iterator[records.Record]:
    kind = f"pyarrow.{type(value).__name__}"
    if isinstance(place.marker, options.Artifact):
        yield from dataframes.as_file(value.to_pandas(), place)
        return
    yield _arrow_table(value, place, kind)
    if datasets.is_saved(place):
        import pyarrow as pa
        import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

        target = io.BytesIO()
        pq.write_table(value if isinstance(value, pa.Table) else pa.Table.from_batches([value]), target)
        yield datasets.blob(place, ".parquet", target.getvalue())


def _arrow_table(value: Any, place: Place, kind: str) -> records.Dataset:
    """Look at pieces of the table, evenly spread, which cost no copy of the rest."""
    import pyarrow as pa

    length, width = value.num_rows, value.num_columns
    looked_at = len(datasets.rows(length, min(width, datasets.MOST_COLUMNS)))
    part = value.select(list(datasets.columns(width))) if width > datasets.MOST_COLUMNS else value
    if looked_at < length:
        pieces = min(100, looked_at)
        size = looked_at // pieces
        starts = [index * (length - size) // max(1, pieces - 1) for index in range(pieces)]
        tables = [part.slice(start, size) for start in starts]
        part = pa.concat_tables([pa.Table.from_batches([t]) if isinstance(t, pa.RecordBatch) else t for t in tables])
    content = dataframes.described(part.to_pandas(), place, kind, index=False)
    fields = list(value.schema)[: datasets.MOST_COLUMNS]
    counts = [value.column(position).null_count for position in range(len(fields))]
    schema = datasets.colspec(
        (field.name, _arrow_type(field.type), count == 0) for field, count in zip(fields, counts, strict=True)
    )
    types = "\n".join(f"{field.name} {field.type}" for field in value.schema)
    fingerprint = datasets.digest(str((length, width)), types, content.digest)
    profile = datasets.table_profile(length, width, looked_at)
    if "distribution" in content.profile:
        profile["distribution"] = content.profile["distribution"]
    return records.Dataset(place.name, place.role, fingerprint, kind, schema, profile)


def _arrow_type(dtype: pa.DataType) -> Any:
    import pyarrow as pa

    if pa.types.is_dictionary(dtype):
        return _arrow_type(dtype.value_type)
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype):
        inner = _arrow_type(dtype.value_type)
        return {"type": "array", "items": inner if isinstance(inner, dict) else {"type": inner}}
    if pa.types.is_integer(dtype):
        return dataframes.numeric_type("i" if pa.types.is_signed_integer(dtype) else "u", dtype.bit_width // 8)
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

    yield _arrow_table(pa.table({"0": value}), place, f"pyarrow.{type(value).__name__}")


def _hugging_face(value: Any, place: Place) -> Iterator[records.Record]:
    """A Hugging Face dataset, which knows its own fingerprint."""
    schema = datasets.colspec((name, _arrow_type(field.pa_type), True) for name, field in _flat(value.features))
    profile = datasets.table_profile(value.num_rows, len(value.column_names), value.num_rows)
    fingerprint = datasets.digest(str(getattr(value, "_fingerprint", "")), str(value.num_rows))
    yield records.Dataset(place.name, place.role, fingerprint, "datasets.Dataset", schema, profile)


def _flat(features: Any) -> Iterator[tuple[str, Any]]:
    for name, feature in list(features.items())[: datasets.MOST_COLUMNS]:
        if hasattr(feature, "pa_type"):
            yield name, feature


def _load_polars() -> None:
    import polars as pl

    datasets.register_table(pl.DataFrame, _polars)
    datasets.register_table(pl.Series, _polars_series)
    register(pl.LazyFrame, only_type)


def _load_arrow() -> None:
    import pyarrow as pa

    datasets.register_table(pa.Table, _arrow)
    datasets.register_table(pa.RecordBatch, _arrow)
    datasets.register_table(pa.ChunkedArray, _arrow_column)
    datasets.register_table(pa.Array, _arrow_column)


def _load_hugging_face() -> None:
    datasets.register_table(sys.modules["datasets.arrow_dataset"].Dataset, _hugging_face)


def register_all() -> None:
    """Register each library for when it is met."""
    register_lazy("polars", _load_polars)
    register_lazy("pyarrow", _load_arrow)
    register_lazy("datasets.arrow_dataset", _load_hugging_face)
