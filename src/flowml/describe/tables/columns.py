"""The columns of pandas: their MLflow types, their content for a fingerprint, their numbers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from flowml.describe.tables import cells
from flowml.errors import pass_on

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

_VALUES_SEEN = 100  # of a list in a cell, to tell its type


_MOST_LOOKED_AT = 100_000  # values of one column, for gaps


class PandasColumns:
    """A frame's columns, each with the rows that are looked at.

    Args:
        frame: The frame.
        rows: Their positions; None for all.
    """

    def __init__(self, frame: pd.DataFrame, rows: list[int] | None) -> None:
        self.names = list(frame.columns)
        self._frame = frame
        self._rows = rows or []
        self._part: pd.DataFrame | None = frame
        self.column = cache(self._column)
        if rows is not None:
            try:  # of all columns at once, which takes less time
                self._part = frame.iloc[rows]
            except BaseException as error:  # noqa: BLE001 - a column of somebody's own type
                pass_on(error)
                self._part = None

    def _column(self, at: int) -> pd.Series[Any]:
        return self._frame.iloc[:, at].iloc[self._rows] if self._part is None else self._part.iloc[:, at]

    def spec(self, at: int) -> tuple[Any, bool]:
        """Tell a column's MLflow type, and whether it has no gaps."""
        column = self.column(at)
        return type_of(column), not (any(_gaps(column)) or _may_have_gaps(self._frame.iloc[:, at]))

    def content(self, at: int) -> bytes:
        """Give what its values are fingerprinted by."""
        return content_of(self.column(at))

    def numbers(self, at: int) -> npt.NDArray[Any] | None:
        """Give its values as floats, None if they are no numbers."""
        return numbers_of(self.column(at))


def content_of(column: pd.Series[Any]) -> bytes:
    """Give what a column's values are fingerprinted by: the same for equal values in each process."""
    from pandas.util import hash_array, hash_pandas_object

    dtype = column.dtype
    try:
        if dtype.kind in "biuf":  # a fast way, where there is one
            return hash_array(column.to_numpy()).tobytes()
        if is_hashed_whole(column):
            return hash_pandas_object(column, index=False).to_numpy().tobytes()
    except BaseException as error:  # noqa: BLE001 - cells that cannot be hashed: lists, lone surrogates
        pass_on(error)
    return cells.content(list(column))


def is_hashed_whole(values: pd.Series[Any] | pd.Index[Any]) -> bool:
    """Tell whether pandas hashes all of the values; of most objects, a text that may leave out the middle."""
    import pandas as pd

    if isinstance(values, pd.MultiIndex):
        return all(map(is_hashed_whole, values.levels))
    is_object = pd.api.types.is_object_dtype(values.dtype)
    return not is_object or pd.api.types.infer_dtype(values, skipna=True) in {"string", "bytes", "empty"}


def numbers_of(column: pd.Series[Any]) -> npt.NDArray[Any] | None:
    """Give a column's numbers, None if it is of none."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_complex_dtype(column.dtype):
        return None
    return pd.to_numeric(column, errors="coerce").to_numpy(dtype="float64", na_value=float("nan"))


def type_of(column: pd.Series[Any]) -> Any:
    """Tell a column's MLflow type: "any" where its values share none."""
    import pandas as pd

    values: pd.Series[Any] | pd.Index[Any] = column
    if isinstance(column.dtype, pd.CategoricalDtype):
        values = column.dtype.categories
    dtype: Any = values.dtype
    if isinstance(dtype, pd.StringDtype):
        return "string"
    if isinstance(dtype, pd.SparseDtype):
        dtype = dtype.subtype
    kind, size = dtype.kind, getattr(dtype, "itemsize", 8)
    if kind == "O":
        return _type_of_objects([item for item, gone in zip(values, _gaps(values), strict=True) if not gone])
    return numeric_type(kind, size)


def _gaps(values: pd.Series[Any] | pd.Index[Any]) -> Iterable[bool]:
    """Tell of each value whether it is missing."""
    import pandas as pd

    try:
        return values.isna()
    except ArithmeticError:  # decimals that signal when they are compared
        return [item is None or item is pd.NA or item is pd.NaT or repr(item) == "nan" for item in values]


def _may_have_gaps(values: pd.Series[Any]) -> bool:
    """Tell whether any value may be missing: a sample may show none, and to look at very many takes too long."""
    import numpy as np

    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iub":
        return False
    return len(values) > _MOST_LOOKED_AT or bool(np.asarray(_gaps(values)).any())


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
        return _array_of(
            _type_of_objects(
                [element for item in items[:_VALUES_SEEN] for element in item[:_VALUES_SEEN] if element is not None]
            )
        )
    return _type_of_arrays(items)


def _type_of_arrays(items: list[Any]) -> Any:
    """Tell the type that NumPy arrays share."""
    import numpy as np

    if not all(isinstance(item, np.ndarray) and item.ndim for item in items):
        return "any"
    shared = {(item.ndim, item.dtype.kind, item.dtype.itemsize) for item in items}
    if len(shared) > 1:
        return "any"
    [(dimensions, kind, size)] = shared
    found: Any = numeric_type(kind, size)
    for _ in range(dimensions):
        found = _array_of(found)
    return found


def _array_of(inner: Any) -> dict[str, Any]:
    return {"type": "array", "items": inner if isinstance(inner, dict) else {"type": inner}}
