"""The formats of tables and arrays: each library's own writers, by the ending of a file's name."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flowml.describe.formats import nests
from flowml.describe.written import Formats, as_text, has_excel

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    import polars as pl
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]


_DEEPEST = 100  # lists in lists in a cell: Arrow recurses without looking


def _bytes(write: Callable[[Any, io.BytesIO], object]) -> Callable[[Any], bytes]:
    """Make a writer that gives bytes of one that writes to a file."""

    def give(value: Any) -> bytes:
        target = io.BytesIO()
        write(value, target)
        return target.getvalue()

    return give


def parquet(value: pd.DataFrame) -> bytes:
    """Give a frame's content as Parquet; it needs its column names to be text."""
    target = io.BytesIO()
    _for_arrow(value).to_parquet(target)
    return target.getvalue()


def _for_arrow(value: pd.DataFrame) -> pd.DataFrame:
    """Give a frame as Arrow takes it: with names that are text, and cells that have an end.

    Raises:
        ValueError: If a cell holds itself, or goes too deep: Arrow would end the process.
    """
    for at, kind in enumerate(value.dtypes):
        cells = value.iloc[:, at] if kind.kind == "O" else ()
        if not all(_ends(cell, set(), set()) for cell in cells if isinstance(cell, list | tuple | Mapping)):
            name = str(value.columns[at])
            msg = f"a cell of the column {name!r} holds itself, or more than {_DEEPEST} levels"
            raise ValueError(msg)
    return _with_text_names(value)


def _with_text_names(value: pd.DataFrame) -> pd.DataFrame:
    if all(isinstance(name, str) for name in value.columns):
        return value
    return value.set_axis([str(name) for name in value.columns], axis="columns")


def _ends(cell: Any, around: set[int], known: set[int]) -> bool:
    """Tell whether a cell's lists and mappings end within so many levels; each is looked at once."""
    if id(cell) in known:
        return True
    if id(cell) in around or len(around) > _DEEPEST:
        return False
    inner = {*around, id(cell)}
    parts = cell.values() if isinstance(cell, Mapping) else cell
    ends = all(_ends(part, inner, known) for part in parts if isinstance(part, list | tuple | Mapping))
    known.add(id(cell))
    return ends


def _feather(value: pd.DataFrame, target: io.BytesIO) -> None:
    import pyarrow as pa
    from pyarrow import feather

    # By way of Arrow, for pandas itself writes no frame with an index of its own.
    feather.write_feather(pa.Table.from_pandas(_for_arrow(value)), target)


def _npy(values: npt.NDArray[Any], target: io.BytesIO) -> None:
    import numpy as np

    np.save(target, values, allow_pickle=False)


def _npz(values: npt.NDArray[Any], target: io.BytesIO) -> None:
    import numpy as np

    np.savez_compressed(target, allow_pickle=False, data=values)


npz = _bytes(_npz)


def _separated(values: npt.NDArray[Any], by: str) -> str:
    import numpy as np
    import pandas as pd

    lines = io.StringIO()
    if values.dtype.kind in "biufc":
        np.savetxt(lines, values, delimiter=by, fmt="%s")
    else:  # cells that may hold what parts them; fields become columns, under their names
        has_fields = values.dtype.names is not None
        pd.DataFrame(values).to_csv(lines, sep=by, header=has_fields, index=False, lineterminator="\n")
    return lines.getvalue()


def of_pandas() -> Formats:
    """Give the formats of a pandas frame."""
    excel: Formats = {".xlsx": _bytes(lambda frame, target: frame.to_excel(target))} if has_excel() else {}
    return {
        ".parquet": parquet,
        ".csv": as_text(lambda frame: frame.to_csv()),
        ".tsv": as_text(lambda frame: frame.to_csv(sep="\t")),
        ".json": as_text(lambda frame: frame.to_json(orient="split", date_format="iso")),
        ".jsonl": as_text(lambda frame: frame.to_json(orient="records", lines=True, date_format="iso")),
        ".feather": _bytes(_feather),
        **excel,
        ".npy": _bytes(lambda frame, target: _npy(frame.to_numpy(), target)),
        ".npz": lambda frame: npz(frame.to_numpy()),
        ".html": as_text(lambda frame: frame.to_html()),
        ".md": as_text(lambda frame: f"```text\n{frame.to_string()}\n```\n"),
        ".txt": as_text(lambda frame: frame.to_string()),
    }


def _by_pandas(*endings: str) -> Formats:
    """Give formats that a library has no writer of its own for: by a pandas frame of the same content."""
    formats = of_pandas()

    def by(ending: str) -> Callable[[Any], str | bytes]:
        return lambda value: formats[ending](value.to_pandas())

    return {ending: by(ending) for ending in endings if ending in formats}


def of_polars() -> Formats:
    """Give the formats of a polars frame."""
    return {
        ".parquet": _bytes(lambda frame, target: frame.write_parquet(target)),
        ".csv": as_text(lambda frame: frame.write_csv()),
        ".tsv": as_text(lambda frame: frame.write_csv(separator="\t")),
        ".json": as_text(lambda frame: frame.write_json()),
        ".jsonl": as_text(lambda frame: frame.write_ndjson()),
        ".feather": _bytes(_polars_feather),
        **_by_pandas(".xlsx"),
        ".npy": _bytes(lambda frame, target: _npy(frame.to_numpy(), target)),
        ".npz": lambda frame: npz(frame.to_numpy()),
        **_by_pandas(".html", ".md", ".txt"),
    }


def _polars_feather(value: pl.DataFrame, target: io.BytesIO) -> None:
    import polars as pl

    value.write_ipc(target, compat_level=pl.CompatLevel.oldest())  # which every reader of Arrow's knows


def of_arrow() -> Formats:
    """Give the formats of an Arrow table."""
    return {
        ".parquet": _bytes(_arrow_parquet),
        ".csv": _bytes(lambda table, target: _arrow_csv(table, target, ",")),
        ".tsv": _bytes(lambda table, target: _arrow_csv(table, target, "\t")),
        **_by_pandas(".json", ".jsonl"),
        ".feather": _bytes(_arrow_feather),
        **_by_pandas(".xlsx", ".npy", ".npz", ".html", ".md", ".txt"),
    }


def _arrow_parquet(value: pa.Table, target: io.BytesIO) -> None:
    from pyarrow import parquet as files

    files.write_table(value, target)


def _arrow_feather(value: pa.Table, target: io.BytesIO) -> None:
    from pyarrow import feather

    feather.write_feather(value, target)


def _arrow_csv(value: pa.Table, target: io.BytesIO, by: str) -> None:
    from pyarrow import csv

    csv.write_csv(value, target, csv.WriteOptions(delimiter=by, quoting_style="needed"))


def of_numpy() -> Formats:
    """Give the formats of a NumPy array: those of a table for one or two dimensions."""
    tables = of_pandas()

    def as_table(ending: str) -> Callable[[Any], str | bytes]:
        return lambda value: tables[ending](_frame(value))

    return {
        ".npy": _bytes(_npy),
        ".npz": npz,
        ".csv": as_text(lambda value: _separated(value, ",")),
        ".tsv": as_text(lambda value: _separated(value, "\t")),
        ".json": as_text(nests.json_text),
        ".txt": as_text(lambda value: _separated(value, ",")),
        **{ending: as_table(ending) for ending in (".jsonl", ".parquet", ".feather", ".xlsx") if ending in tables},
    }


def _frame(value: npt.NDArray[Any]) -> pd.DataFrame:
    import pandas as pd

    return _with_text_names(pd.DataFrame(value))


def of_sparse() -> Formats:
    """Give the format of a sparse matrix."""
    return {".npz": sparse_npz}


def sparse_npz(value: Any) -> bytes:
    """Give a sparse matrix as SciPy's own archive."""
    from scipy import sparse

    target = io.BytesIO()
    sparse.save_npz(target, value if hasattr(value, "indptr") else value.tocsr())
    return target.getvalue()
