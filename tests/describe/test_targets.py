"""Lists of numbers: a target where they are an argument or stand beside a table, else a history or a parameter."""

from __future__ import annotations

import array
import dataclasses
import tracemalloc
from collections import deque
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from flowml import Metric, Param, describe, records

NUMBERS = [float(number) for number in range(150)]
FRAME = pd.DataFrame({"a": NUMBERS})


def datasets(found: list[records.Record]) -> dict[str, records.Dataset]:
    """Give the datasets by name."""
    return {r.name: r for r in found if isinstance(r, records.Dataset)}


TARGETS = {
    "floats": NUMBERS,
    "ints": list(range(150)),
    "bools": [True, False] * 75,
    "mixed": [1, 0.5] * 75,
    "numpy's": list(np.arange(150.0)),
    "numpy's bools": list(np.arange(150) % 2 == 0),
    "beyond floats": [10**400, *range(149)],
    "beyond 64 bits": [2**70] * 150,
    "tuple": tuple(NUMBERS),
    "array": array.array("d", NUMBERS),
}


@pytest.mark.parametrize("value", TARGETS.values(), ids=TARGETS.keys())
def test_more_than_a_hundred_numbers_given_as_an_argument_are_a_dataset(value: Any) -> None:
    """Alone, in a pair with a table, in a mapping beside one; equal content has an equal digest, other another."""
    [found] = describe.inputs({"y": value}, {})
    assert isinstance(found, records.Dataset)
    assert (found.name, found.role, found.kind) == ("y", "input", type(value).__name__)
    assert (found.profile["num_rows"], found.profile["num_elements"]) == (150, 150)
    other = type(value)("d", value) if isinstance(value, array.array) else list(value)
    other = list(other)
    other[7] = not other[7] if isinstance(other[7], (bool, np.bool_)) else other[7] + 1
    assert datasets(describe.inputs({"y": other}, {}))["y"].digest != found.digest
    for pair, names in (((FRAME, value), ["d.0", "d.1"]), ({"X": FRAME, "y": value}, ["d.X", "d.y"])):
        assert datasets(describe.inputs({"d": pair}, {})).keys() == set(names)
        assert [r for r in describe.inputs({"d": pair}, {}) if not isinstance(r, records.Dataset)] == []


def test_a_list_has_the_digest_of_the_array_of_the_same_numbers() -> None:
    """Also of very many, of which a sample is looked at."""
    for count in (150, 300_000):
        numbers = np.arange(float(count))
        as_list, as_array = (describe.inputs({"y": each}, {})[0] for each in (numbers.tolist(), numbers))
        assert isinstance(as_list, records.Dataset)
        assert isinstance(as_array, records.Dataset)
        assert (as_list.digest, as_list.schema) == (as_array.digest, as_array.schema)


class Split(NamedTuple):
    """A named tuple of features and a target."""

    X: Any
    y: Any


@dataclasses.dataclass(frozen=True)
class Data:
    """A frozen dataclass of them."""

    X: Any
    y: Any


TABLES = {
    "pandas": FRAME,
    "series": FRAME["a"],
    "numpy": np.zeros((150, 2)),
    "sparse": sparse.csr_matrix(np.eye(150)),
    "polars": pl.DataFrame({"a": NUMBERS}),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_numbers_returned_beside_a_table_are_a_dataset(table: Any) -> None:
    """In a tuple, a list, a mapping, a named tuple, a dataclass, and each pair of a pair."""
    for value, names in (
        ((table, NUMBERS), {"t.0", "t.1"}),
        ([table, NUMBERS], {"t.0", "t.1"}),
        ({"X": table, "y": NUMBERS}, {"X", "y"}),
        (Split(table, NUMBERS), {"X", "y"}),
        (Data(table, NUMBERS), {"X", "y"}),
        (((table, NUMBERS), (table, tuple(NUMBERS))), {"t.0.0", "t.0.1", "t.1.0", "t.1.1"}),
    ):
        found = describe.outputs(value, "t")
        assert datasets(found).keys() == names
        assert len(found) == len(names)


def test_numbers_returned_alone_are_a_history() -> None:
    """So are those beside a number, in a mapping beside a table's mapping, and those that a marker says are metrics."""
    for value, hint, key in (
        (NUMBERS, None, "t"),
        ((NUMBERS, 0.5), None, "t.0"),
        ({"loss": NUMBERS}, None, "loss"),
        ((FRAME, {"loss": NUMBERS}), None, "loss"),
        ((FRAME, NUMBERS), tuple[pd.DataFrame, Annotated[list, Metric("loss")]], "loss"),
        ((FRAME, NUMBERS[:100]), None, "t.1"),
    ):
        points = [r for r in describe.outputs(value, "t", hint) if isinstance(r, records.Metric) and r.key == key]
        assert len(points) >= 100
    logged = describe.named({"loss": NUMBERS})
    assert {type(r) for r in logged} == {records.Metric}


def test_what_is_short_or_holds_anything_else_is_no_dataset() -> None:
    """A hundred numbers, text, gaps and lists are as they were; so are numbers in a configuration."""
    for value in (NUMBERS[:100], [*NUMBERS, "a"], [*NUMBERS, None], [[1.0]] * 150, deque(NUMBERS), set(NUMBERS)):
        assert datasets(describe.inputs({"y": value}, {})) == {}
    assert datasets(describe.inputs({"config": {"grid": NUMBERS}}, {})) == {}
    assert datasets(describe.inputs({"y": NUMBERS}, {"y": Annotated[list, Param()]})) == {}


def test_a_secret_target_stays_hidden() -> None:
    """The name says so, whatever the value."""
    assert describe.inputs({"password": NUMBERS}, {}) == [records.Param("password", "********")]


def test_ten_million_numbers_are_described_without_a_copy() -> None:
    """A sample is looked at; the list alone is 80 MB."""
    numbers = [0.5] * 10_000_000
    describe.inputs({"y": numbers}, {})  # libraries load and caches fill on first use
    tracemalloc.start()
    [found] = describe.inputs({"y": numbers}, {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(found, records.Dataset)
    assert peak < 20e6
