"""Columns of many kinds, each as a frame that a model is fitted on: 30 rows, with what is missing beyond the fifth."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

ROWS = 30
_COUNTS = [number % 7 for number in range(ROWS)]
_GAPS = [None if row in {7, 19} else count for row, count in enumerate(_COUNTS)]
_WORDS = ["red", "green", "blue"] * 10
_WORDS_WITH_GAPS = [None if row in {7, 19} else word for row, word in enumerate(_WORDS)]
_DAYS = pd.date_range("2026-01-01", periods=ROWS)


def frame(column: Any, name: Any = "seen") -> pd.DataFrame:
    """Put a column beside one of plain numbers."""
    return pd.DataFrame({name: column, "size" if isinstance(name, str) else 1: np.linspace(0, 1, ROWS)})


def _arrow(values: list[Any], kind: pa.DataType) -> pd.DataFrame:
    return frame(pd.Series(values, dtype=pd.ArrowDtype(kind)))


def _odd_index() -> pd.DataFrame:
    return frame(_COUNTS).set_axis([row * 3 + 100 for row in range(ROWS)], axis=0)


KINDS: dict[str, Callable[[], Any]] = {
    "int64": lambda: frame(_COUNTS),
    "int32": lambda: frame(np.asarray(_COUNTS, "int32")),
    "uint64": lambda: frame(np.asarray(_COUNTS, "uint64")),
    "zeros and ones": lambda: frame([0, 1] * 15),
    "Int64": lambda: frame(pd.array(_COUNTS, dtype="Int64")),
    "Int64 with gaps": lambda: frame(pd.array(_GAPS, dtype="Int64")),
    "Int32 with gaps": lambda: frame(pd.array(_GAPS, dtype="Int32")),
    "Float64 with gaps": lambda: frame(pd.array(_GAPS, dtype="Float64")),
    "float64 with gaps": lambda: frame(np.asarray([np.nan if gap is None else gap for gap in _GAPS])),
    "float32": lambda: frame(np.asarray(_COUNTS, "float32") / np.float32(3)),
    "float16": lambda: frame(np.asarray(_COUNTS, "float16")),
    "bool": lambda: frame([True, False, False] * 10),
    "boolean with gaps": lambda: frame(pd.array([None if gap is None else gap > 2 for gap in _GAPS], dtype="boolean")),
    "Arrow integers": lambda: _arrow(_COUNTS, pa.int64()),
    "Arrow integers with gaps": lambda: _arrow(_GAPS, pa.int64()),
    "Arrow strings with gaps": lambda: _arrow(_WORDS_WITH_GAPS, pa.string()),
    "strings": lambda: frame(_WORDS),
    "strings with gaps": lambda: frame(pd.array(_WORDS_WITH_GAPS, dtype="string")),
    "objects of strings with gaps": lambda: frame(pd.Series(_WORDS_WITH_GAPS, dtype="object")),
    "objects of integers with gaps": lambda: frame(pd.Series(_GAPS, dtype="object")),
    "objects of booleans": lambda: frame(pd.Series([True, False, False] * 10, dtype="object")),
    "objects of many types": lambda: frame(pd.Series(["1", 2, 3.5, "4", 5, 6] * 5, dtype="object")),
    "objects that change late": lambda: frame(pd.Series([*["a"] * 20, *[3] * 10], dtype="object")),
    "decimals": lambda: frame([decimal.Decimal(count) / 2 for count in _COUNTS]),
    "dates": lambda: frame([day.date() for day in _DAYS]),
    "clock times": lambda: frame([dt.time(count) for count in _COUNTS]),
    "bytes": lambda: frame([word.encode() for word in _WORDS]),
    "lists that change late": lambda: frame([*[["a"], ["b"]] * 14, [1], ["x", None]]),
    "mappings that change late": lambda: frame([*[{"a": 1.0, "b": 2.0}] * 28, {"a": 1.0}, {"c": "x"}]),
    "tuples and arrays that change late": lambda: frame([*[np.ones(2)] * 28, np.asarray(["x"]), (1, "x")]),
    "category of strings": lambda: frame(pd.Categorical(_WORDS)),
    "category with gaps": lambda: frame(pd.Categorical(_WORDS_WITH_GAPS)),
    "category of integers": lambda: frame(pd.Categorical(_COUNTS)),
    "naive times": lambda: frame(_DAYS),
    "naive times with gaps": lambda: frame(pd.Series(_DAYS).where(np.arange(ROWS) != 7)),
    "zoned times": lambda: frame(_DAYS.tz_localize("Europe/Oslo")),
    "time spans": lambda: frame(_DAYS - _DAYS[0]),
    "periods": lambda: frame(_DAYS.to_period("D")),
    "sparse": lambda: frame(pd.arrays.SparseArray(np.asarray(_COUNTS, "float64"), fill_value=0.0)),
    "a column without a name": lambda: frame(_COUNTS, ""),
    "names with spaces and dots": lambda: frame(_COUNTS, "how many. per day"),
    "integer names": lambda: frame(_COUNTS, 0),
    "two levels of names": lambda: frame(_COUNTS).set_axis(pd.MultiIndex.from_product([["a"], ["b", "c"]]), axis=1),
    "the same name twice": lambda: frame(_COUNTS).set_axis(["size", "size"], axis=1),
    "one column": lambda: frame(_COUNTS)[["seen"]],
    "one column named by a number": lambda: _odd_index()[["seen"]].set_axis([0], axis=1),
    "an odd index": _odd_index,
    "array of floats": lambda: frame(_COUNTS).to_numpy(),
    "array of single floats": lambda: frame(_COUNTS).to_numpy("float32"),
    "array of integers": lambda: np.asarray([_COUNTS, _COUNTS[::-1]]).T,
    "array of booleans": lambda: np.asarray([_COUNTS, _COUNTS[::-1]]).T > 2,
    "array with gaps": lambda: frame([np.nan if gap is None else gap for gap in _GAPS]).to_numpy(),
    "array of objects": lambda: frame(_WORDS).to_numpy(),
    "matrix": lambda: np.asmatrix(frame(_COUNTS).to_numpy()),
}
"""A frame or array of each kind, made anew for each test."""
