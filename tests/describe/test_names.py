"""Names are made of values: of what a key is, not of how Python would write it."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flowml import describe, records


class Split(enum.Enum):
    """A member's value is text."""

    TRAIN = "train"


class Level(enum.IntEnum):
    """A member's value is a number: its name says more."""

    HIGH = 3


class Mode(str, enum.Enum):
    """A member is text itself."""

    FAST = "fast"


NAMES = [
    (np.int64(0), "0"),
    (np.float32(0.1), "0.1"),
    (np.bool_(True), "True"),
    (np.str_("a"), "a"),
    (np.datetime64("2026-01-02"), "2026-01-02"),
    (np.datetime64("2026-01-02T03:00", "ns"), "2026-01-02T03:00:00.000000000"),
    (Split.TRAIN, "train"),
    (Level.HIGH, "HIGH"),
    (Mode.FAST, "fast"),
    (dt.date(2026, 1, 2), "2026-01-02"),
    (dt.datetime(2026, 1, 2, 3, tzinfo=dt.timezone.utc), "2026-01-02T03:00:00_00:00"),
    (dt.time(3, 4), "03:04:00"),
    (pd.Timestamp("2026-01-02"), "2026-01-02T00:00:00"),
    (pd.Period("2026-01", "M"), "2026-01"),
    (pd.Interval(0, 1), "_0_ 1_"),
    (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    (Decimal("1.50"), "1.50"),
    (PurePosixPath("a/b"), "a/b"),
    (0.5, "0.5"),
    (-3, "-3"),
    (True, "True"),
    (None, "None"),
    ((np.int64(1), Split.TRAIN), "_1_ train_"),
]


@pytest.mark.parametrize("key,name", NAMES, ids=[repr(key) for key, _ in NAMES])
def test_a_key_is_named_by_its_value(key: Any, name: str) -> None:
    """As a metric, a parameter, in a history, in a nest that is one parameter, as a column."""

    def keys(found: list[records.Record], kind: type) -> list[str]:
        return [record.key for record in found if isinstance(record, kind)]

    assert keys(describe.outputs({key: 0.5}, "t"), records.Metric) == [name]
    assert keys(describe.outputs([{key: 0.5}], "t"), records.Metric) == [name]
    assert keys(describe.named_metrics({key: 0.5})[0], records.Metric) == [name]
    assert keys(describe.yielded({key: 0.5}, "t", 0), records.Metric) == [name]
    assert keys(describe.inputs({"x": {key: "a"}}, {}), records.Param) == [f"x.{name}"]
    assert keys(describe.named_params({key: "a"})[0], records.Param) == [name]
    [nest] = describe.inputs({"x": [{key: 1}]}, {})
    [table] = describe.inputs({"x": pd.DataFrame([[1]], columns=pd.Index([key], dtype=object))}, {})
    assert isinstance(nest, records.Param)
    assert isinstance(table, records.Dataset)
    column = str(table.schema["mlflow_colspec"][0]["name"])
    if "_" not in name:  # these two are texts, and take more characters
        assert (nest.value, column) == (f'[{{"{name}": 1}}]', name)
    for text in (nest.value, column):
        assert not any(sign in text for sign in ("np.", "Split", "datetime", "Timestamp", "Interval"))


def test_dates_of_numpy_are_values_too() -> None:
    """Also in a list, where nanoseconds would be bare numbers."""
    times = [np.datetime64("2026-01-02", "ns"), np.timedelta64(3, "s"), np.float32(0.5)]
    assert describe.inputs({"x": times}, {}) == [
        records.Param("x", '["2026-01-02T00:00:00.000000000", "3 seconds", 0.5]')
    ]
