"""Finds tables among a task's arguments and copies a few rows of the right columns."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

EXAMPLE_ROWS = 5
_SEARCHED = 100  # so many members of one container: lists can be long


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


def frame_with(table: Any, names: Sequence[str]) -> Any:
    """Copy the first rows of these columns, in this order, as a pandas frame: None if some column is missing.

    LightGBM writes the spaces in its feature names as underscores, so a column is found by that spelling too.
    """
    if not hasattr(table, "columns"):
        return None
    present = {str(column).replace(" ", "_"): column for column in table.columns}
    present |= {column: column for column in table.columns}
    if not set(names) <= present.keys():
        return None
    columns = [present[name] for name in names]
    if hasattr(table, "to_pandas"):
        return table.head(EXAMPLE_ROWS).select(columns).to_pandas()
    frame = table.head(EXAMPLE_ROWS)[columns].copy()
    return frame if frame.shape[1] == len(columns) else None


def array_of(table: Any, width: int | None, floats: str | None) -> Any:
    """Copy the first rows of a numeric table as a NumPy array: None if it has another width or holds other things.

    Args:
        table: The table.
        width: How many columns it must have; None for any shape.
        floats: The precision that the model calculates in, if it takes no other.
    """
    if width is not None and tuple(table.shape[1:]) != (width,):
        return None
    rows = _first_rows(table)
    if rows is None or rows.dtype.kind not in "fiub":
        return None
    return rows.astype(floats if floats and rows.dtype.kind == "f" else rows.dtype, copy=True)


def _first_rows(table: Any) -> Any:
    """Give a table's first rows as NumPy has them; None if it has nothing like them, as of torch's sparse tensors."""
    if hasattr(table, "detach"):
        try:
            return table[:EXAMPLE_ROWS].detach().cpu().numpy()
        except (TypeError, RuntimeError):
            return None
    rows = table[:EXAMPLE_ROWS]
    return rows.to_numpy() if hasattr(rows, "to_numpy") else rows
