"""Finds tables among a task's arguments and copies a few rows of the right columns."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

EXAMPLE_ROWS = 5
_SEARCHED = 100  # so many members of one container: lists can be long
_ODD_ROWS = 20  # so many rows beside the first, for what is not seen there


def tables_in(inputs: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the frames, matrices and tensors among the arguments, and one level inside of them."""
    for value in inputs.values():
        for candidate in (value, *_members(value)):
            if _is_table(candidate):
                yield candidate


def _members(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value[:_SEARCHED])
    if isinstance(value, Mapping):
        return list(itertools.islice(value.values(), _SEARCHED))
    if (tensors := _loaded_tensors(value)) is not None:
        return tensors
    names: Sequence[str] = ()
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    elif hasattr(type(value), "__attrs_attrs__"):
        names = [field.name for field in type(value).__attrs_attrs__]
    elif hasattr(type(value), "__pydantic_fields__"):
        names = list(type(value).__pydantic_fields__)
    return [getattr(value, name) for name in names if hasattr(value, name)]


def _loaded_tensors(value: Any) -> list[Any] | None:
    """The tensors behind torch's data loaders and sets, without drawing from them; None if it is none of those."""
    data = sys.modules.get("torch.utils.data")
    if data is None:
        return None
    while isinstance(value, data.DataLoader | data.Subset):
        value = value.dataset
    return list(value.tensors) if isinstance(value, data.TensorDataset) else None


def _is_table(value: Any) -> bool:
    """Whether it is a frame, or has rows and columns; of libraries that are not loaded there can be no object."""
    return any(
        (library := sys.modules.get(module)) is not None and isinstance(value, getattr(library, name, ()))
        for module, name in (
            ("pandas", "DataFrame"),
            ("polars", "DataFrame"),
            ("numpy", "ndarray"),
            ("torch", "Tensor"),
        )
    ) and (len(value.shape) > 1 and value.shape[0] > 0)


def columns_named(table: Any, names: Sequence[str]) -> list[Any] | None:
    """Find the columns with these names in a table, in this order: None if some is missing or there twice.

    LightGBM writes the spaces in its feature names as underscores, so a column is found by that spelling too.
    """
    if not hasattr(table, "columns"):
        return None
    present = {str(column).replace(" ", "_"): column for column in table.columns}
    present |= {column: column for column in table.columns}
    if not set(names) <= present.keys():
        return None
    columns = [present[name] for name in names]
    wanted = set(columns)
    return columns if sum(column in wanted for column in table.columns) == len(columns) else None


def first_rows(table: Any, columns: Sequence[Any]) -> Any:
    """Copy the first rows of these columns as a pandas frame."""
    return _rows(table, columns, range(min(EXAMPLE_ROWS, len(table))))


def telling_rows(table: Any, columns: Sequence[Any]) -> Any:
    """Copy the first rows, and for each column one with a missing value and one with a value of another type."""
    chosen = dict.fromkeys(range(min(EXAMPLE_ROWS, len(table))))
    for column in columns:
        odd = [row for row in _odd_rows(table[column]) if row not in chosen]
        chosen.update(dict.fromkeys(odd[: EXAMPLE_ROWS + _ODD_ROWS - len(chosen)]))
    return _rows(table, columns, list(chosen))


def complete_rows(table: Any, columns: Sequence[Any]) -> Any:
    """Copy the first rows in which nothing is missing."""
    import numpy as np

    missing = np.zeros(len(table), bool)
    for column in columns:
        missing |= _missing(table[column])
    return _rows(table, columns, np.flatnonzero(~missing)[:EXAMPLE_ROWS].tolist())


def _rows(table: Any, columns: Sequence[Any], rows: Sequence[int]) -> Any:
    if hasattr(table, "to_pandas"):
        return table.select(columns)[list(rows)].to_pandas()
    return table.iloc[list(rows)][columns].copy()


def _missing(column: Any) -> Any:
    """Which values of a column are missing; NaN is, in polars too."""
    if not hasattr(column, "is_null"):
        return column.isna().to_numpy()
    missing = column.is_null()
    return (missing | column.is_nan().fill_null(value=False) if column.dtype.is_float() else missing).to_numpy()


def _odd_rows(column: Any) -> Iterator[int]:
    """Give the first row with a missing value, and of objects the first of another type than those before."""
    missing = _missing(column)
    if missing.any():
        yield int(missing.argmax())
    if not hasattr(column, "is_null") and column.dtype == object and _is_mixed(column):
        types = [type(None) if gone else type(value) for value, gone in zip(column, missing, strict=True)]
        for kind in set(types) - {type(None)}:
            yield types.index(kind)


def _is_mixed(column: Any) -> bool:
    import pandas as pd

    return str(pd.api.types.infer_dtype(column, skipna=True)).startswith("mixed")


def array_of(table: Any, width: int | None, floats: str | None) -> Any:
    """Copy the first rows of a numeric table as a NumPy array: None if it has another width or holds other things.

    Args:
        table: The table.
        width: How many columns it must have; None for any shape.
        floats: The precision that the model calculates in, if it takes no other.
    """
    if width is not None and tuple(table.shape[1:]) != (width,):
        return None
    rows = _as_array(table)
    if rows is None or rows.dtype.kind not in "fiub":
        return None
    return rows.astype(floats if floats and rows.dtype.kind == "f" else rows.dtype, copy=True)


def _as_array(table: Any) -> Any:
    """Give a table's first rows as NumPy has them; None if it has nothing like them, as of torch's sparse tensors."""
    if hasattr(table, "detach"):
        try:
            return table[:EXAMPLE_ROWS].detach().cpu().numpy()
        except (TypeError, RuntimeError):
            return None
    rows = table[:EXAMPLE_ROWS]
    return rows.to_numpy() if hasattr(rows, "to_numpy") else rows
