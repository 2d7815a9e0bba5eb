"""One odd cell or column costs nothing of the table: each column is described by itself, whatever is in it."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Annotated

import hypothesis
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import strategies as st
from tests.describe.test_properties import values

from flowml import describe, options, records

PROFILE = Annotated[object, options.Dataset(profile=True)]
ROWS = 3
PLAIN = {"number": [1.5, 2.5, 3.5], "whole": [1, 2, 3], "text": ["a", "b", "c"]}


def dataset(table) -> records.Dataset:
    """Describe a table as an argument, which must be a dataset and nothing else."""
    [found] = describe.inputs({"data": table}, {"data": PROFILE})
    assert isinstance(found, records.Dataset)
    return found


class Panics:
    """Raises what libraries written in Rust panic with: no `Exception`."""

    class Panic(BaseException):
        """As pyo3's."""

    def _panic(self, *_):
        msg = "a panic"
        raise self.Panic(msg)

    __eq__ = __hash__ = __repr__ = __str__ = __len__ = __iter__ = _panic


tables = st.sampled_from(
    [
        pd.DataFrame({"a": [1]}),
        pd.Series([1, 2]),
        pl.DataFrame({"a": [{1}]}),
        pa.table({"a": [1]}),
        np.zeros(3),
        np.array(["a", {}], dtype=object),
        np.zeros((0, 2)),
    ]
)
cells = (
    values
    | tables
    | st.sampled_from([pd.NA, pd.NaT, np.nan, np.float32(1), np.datetime64("2020"), decimal.Decimal("sNaN")])
    | st.sampled_from(["caf\udce9.csv", "\0", dt.date(2020, 1, 1), pd.Timestamp("2020", tz="UTC"), int, 10**30])
    | st.builds(Panics)
)


def odd_pandas(found: list) -> pd.Series:
    """Make a column of the cells as they are."""
    column = pd.Series([None] * ROWS, dtype=object)
    for at, cell in enumerate(found):
        column.array._ndarray[at] = cell  # pandas' own ways ask the cells what they are
    return column


@pytest.mark.slow
@hypothesis.settings(max_examples=50, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(found=st.lists(cells, min_size=ROWS, max_size=ROWS), at=st.integers(0, 3))
@hypothesis.example(found=[pd.NA, "a", None], at=0)
@hypothesis.example(found=[np.zeros(3), np.ones(3), None], at=0)
@hypothesis.example(found=["caf\udce9.csv", "b", "c"], at=1)
def test_an_odd_column_changes_nothing_of_the_others(found, at):
    """Size, types, gaps and percentiles of the plain columns are what they are without it, in pandas and in polars."""
    for kind in ("pandas", "polars"):
        if kind == "pandas":
            plain = pd.DataFrame(PLAIN)
            table = plain.copy()
            table.insert(at, "odd", odd_pandas(found))
        else:
            plain = pl.DataFrame(PLAIN)
            table = plain.insert_column(at, pl.Series("odd", found, dtype=pl.Object))
            plain = pl.DataFrame(PLAIN)
        alone, beside = dataset(plain), dataset(table)
        assert (beside.profile["num_rows"], beside.profile["num_elements"]) == (ROWS, 4 * ROWS)
        columns = beside.schema["mlflow_colspec"]
        assert [column["name"] for column in columns].index("odd") == at
        assert [column for column in columns if column["name"] != "odd"] == alone.schema["mlflow_colspec"]
        assert alone.profile["distribution"].items() <= beside.profile["distribution"].items()
        assert dataset(table) == beside


ODD_COLUMNS = {
    "arrays": lambda: [np.zeros(2), np.ones(2), None],
    "arrays of some types": lambda: [np.zeros(2), np.ones(2, "int32"), None],
    "frames": lambda: [pd.DataFrame({"a": [1]}), None, None],
    "decimals": lambda: [decimal.Decimal("1.2"), decimal.Decimal("sNaN"), None],
    "sets": lambda: [{1}, {2}, {3}],
    "mappings": lambda: [{"a": 1}, {"a": 2}, None],
    "mixed": lambda: [1, "a", None],
    "interval": lambda: pd.interval_range(0, 3),
    "category of intervals": lambda: pd.Categorical([pd.Interval(0, 1), None, None]),
    "category of surrogates": lambda: pd.Categorical.from_codes([0, 1, 1], pd.Index(["caf\udce9", "b"], dtype=object)),
    "arrow lists": lambda: pd.array([[1], [2], None], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
    "arrow structs": lambda: pd.array([{"a": 1}, None, None], dtype=pd.ArrowDtype(pa.struct([("a", pa.int64())]))),
    "arrow decimals": lambda: pd.array([None, None, None], dtype=pd.ArrowDtype(pa.decimal128(9, 2))),
    "sparse": lambda: pd.arrays.SparseArray([0, 0, 1]),
}
ODD_ARROW = {
    "union": lambda: pa.UnionArray.from_sparse(
        pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(list("abc"))]
    ),
    "years beyond pandas'": lambda: pa.array([2**62, None, 1], pa.timestamp("s")),
    "map": lambda: pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "structs": lambda: pa.array([{"a": [1]}, None, {"a": []}]),
    "decimals": lambda: pa.array([decimal.Decimal("1.2"), None, None]),
    "dictionary": lambda: pa.array(["a", None, "a"]).dictionary_encode(),
    "extension": lambda: pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"a" * 16] * 3, pa.binary(16))),
    "nulls": lambda: pa.nulls(3),
    "views": lambda: pa.array(["a", "b", None], pa.string_view()),
    "durations": lambda: pa.array([1, 2, None], pa.duration("s")),
}
ODD_POLARS = {
    "sets": lambda: pl.Series([{1}, {2}, {3}], dtype=pl.Object),
    "structs": lambda: pl.Series([{"a": [1]}, None, {"a": []}]),
    "decimals": lambda: pl.Series([decimal.Decimal("1.2"), None, None]),
    "nested": lambda: pl.Series([[[1]], None, [[2], []]]),
    "arrays": lambda: pl.Series([[1, 2]] * 3, dtype=pl.Array(pl.Int8, 2)),
    "nulls": lambda: pl.Series([None, None, None]),
    "durations": lambda: pl.Series([dt.timedelta(1), None, None]),
    "int128": lambda: pl.Series([1, None, 2], dtype=pl.Int128),
    "enum": lambda: pl.Series(["a", None, "b"], dtype=pl.Enum(["a", "b"])),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "make",
    [
        *(
            pytest.param(
                lambda f=f: (pd.DataFrame(PLAIN), pd.DataFrame({**PLAIN, "odd": pd.Series(f())})), id=f"pandas {n}"
            )
            for n, f in ODD_COLUMNS.items()
        ),
        *(
            pytest.param(lambda f=f: (pl.DataFrame(PLAIN), pl.DataFrame({**PLAIN, "odd": f()})), id=f"polars {n}")
            for n, f in ODD_POLARS.items()
        ),
        *(
            pytest.param(lambda f=f: (pa.table(PLAIN), pa.table({**PLAIN, "odd": f()})), id=f"arrow {n}")
            for n, f in ODD_ARROW.items()
        ),
    ],
)
def test_a_column_of_any_type_leaves_the_others_as_they_are(make):
    """Each library's own types, also those that it cannot hash or convert itself."""
    alone, beside = map(dataset, make())
    again = dataset(make()[1])
    assert beside.digest == again.digest
    assert beside.schema["mlflow_colspec"][:3] == alone.schema["mlflow_colspec"]
    assert beside.profile["num_elements"] == 4 * ROWS
    assert alone.profile["distribution"].items() <= beside.profile["distribution"].items()
    assert "unknown_columns" not in beside.profile


class Unreadable(pd.api.extensions.ExtensionArray):
    """A column of a type of somebody's own that cannot be looked at."""

    dtype = type("UnreadableDtype", (pd.api.extensions.ExtensionDtype,), {"name": "unreadable", "type": object})()

    def __len__(self):
        return ROWS

    def __getitem__(self, _):
        msg = "not to be read"
        raise Panics.Panic(msg)

    isna = take = __iter__ = _hash_pandas_object = __getitem__

    def copy(self, *_):
        """Stay the same."""
        return self

    view = copy


def test_a_column_that_cannot_be_looked_at_is_unknown():
    """Its type is MLflow's "any", the profile names it, and the others are as ever."""
    alone = dataset(pd.DataFrame(PLAIN))
    beside = dataset(pd.DataFrame({**PLAIN, "odd": Unreadable()}))
    assert beside.schema["mlflow_colspec"] == [
        *alone.schema["mlflow_colspec"],
        {"type": "any", "name": "odd", "required": False},
    ]
    assert beside.profile == {**alone.profile, "num_elements": 4 * ROWS, "unknown_columns": ["odd"]}


LONG = {
    "text": lambda changed: "a" * 5_000 + changed + "a" * 5_000,
    "lone surrogates": lambda changed: "\udce9" * 500 + changed + "\udce9" * 500,
    "bytes": lambda changed: b"a" * 5_000 + changed.encode() + b"a" * 5_000,
    "list": lambda changed: [*range(2_000), changed, *range(2_000)],
    "nested list": lambda changed: [[[0] * 300, [changed], [0] * 300]] * 20,
    "array": lambda changed: np.array([0] * 2_000 + [ord(changed)] + [0] * 2_000),
    "array of objects": lambda changed: np.array([{}] * 700 + [changed] + [{}] * 700, dtype=object),
    "mapping": lambda changed: {number: changed if number == 500 else "" for number in range(1_000)},
    "set": lambda changed: {*range(1_000), changed},
    "frame": lambda changed: pd.DataFrame({"x": ["a"] * 500 + [changed] + ["a"] * 500}),
    "series": lambda changed: pd.Series([0.5] * 500 + [ord(changed)] + [0.5] * 500),
    "polars": lambda changed: pl.DataFrame({"x": ["a"] * 500 + [changed] + ["a"] * 500}),
    "long series": lambda changed: pd.Series([0.5] * 99_999 + [ord(changed)] + [0.5] * 99_999),
    "long series of text": lambda changed: pd.Series(["a"] * 9_999 + [changed] + ["a"] * 9_999),
    "long index": lambda changed: pd.Index([0.5] * 99_999 + [ord(changed)] + [0.5] * 99_999),
    "labels of a series": lambda changed: pd.Series(0, index=[*["a"] * 9_999, changed, *["a"] * 9_999]),
    "name of a series": lambda changed: pd.Series([1], name=changed),
    "masked array": lambda changed: np.ma.array([1, 2], mask=[changed == "c", 0]),
    "polars series": lambda changed: pl.Series([0.5] * 99_999 + [float(ord(changed))] + [0.5] * 99_999),
    "number": lambda changed: 10**400 + ord(changed) * 10**200,
    "object": lambda changed: pd.Interval(0, ord(changed)),
}
AROUND = {
    "pandas": lambda cell: pd.DataFrame({"x": odd_pandas([cell, 1, None])}),
    "polars": lambda cell: pl.DataFrame({"x": pl.Series([cell, 1, None], dtype=pl.Object)}),
    "index": lambda cell: pd.DataFrame({"x": [1, 2]}, index=pd.Index([cell, 1], dtype=object, tupleize_cols=False)),
}


@pytest.mark.parametrize("around", ["pandas", "polars"])
@pytest.mark.parametrize("make", LONG.values(), ids=LONG.keys())
def test_the_middle_of_a_long_cell_counts(make, around):
    """A cell that differs in its middle alone makes another digest, and an equal one the same."""
    one, same, other = (dataset(AROUND[around](make(changed))) for changed in "ccd")
    assert one.digest == same.digest
    assert one.digest != other.digest


@pytest.mark.parametrize(
    "table",
    [
        lambda x: pl.DataFrame({"x": [x, None]}),
        lambda x: pa.table({"x": [x, None]}),
        lambda x: np.array([x, {}], dtype=object),
    ],
)
@pytest.mark.parametrize("kind", ["text", "bytes", "list"])
def test_the_middle_of_a_long_cell_counts_where_the_table_has_a_type_for_it(table, kind):
    """So it is in typed columns of polars and Arrow, and in arrays of objects."""
    make = LONG[kind] if kind != "list" else lambda changed: [0] * 2_000 + [ord(changed)] + [0] * 2_000
    one, same, other = (describe.inputs({"x": table(make(changed))}, {})[0] for changed in "ccd")
    assert one.digest == same.digest
    assert one.digest != other.digest


def test_the_middle_of_a_long_label_counts():
    """Labels of rows are content too."""
    labels = [(*range(800), changed, *range(800)) for changed in "ccd"]
    one, same, other = (dataset(AROUND["index"](label)) for label in labels)
    assert one.digest == same.digest
    assert one.digest != other.digest


def test_a_series_inside_itself_is_a_cell():
    """What a cell holds is looked at to a depth, and no further."""
    inside = odd_pandas([1, None, None])
    inside.array._ndarray[1] = inside
    assert dataset(pd.DataFrame({"x": inside})).digest == dataset(pd.DataFrame({"x": inside})).digest


def test_mappings_and_sets_in_cells_have_no_order():
    """Cells that are equal make equal digests."""
    one, same = ({"a": 1, "b": [{"c", "d"}]}, {"b": [{"d", "c"}], "a": 1})
    assert dataset(AROUND["pandas"](one)).digest == dataset(AROUND["pandas"](same)).digest


@pytest.mark.parametrize(
    "make",
    [
        lambda: pd.DataFrame({"x": [1, "a"]}),
        lambda: pd.Series([1, "a"], name="x"),
        lambda: pl.DataFrame({"x": pl.Series([{1}, {2}], dtype=pl.Object)}),
        lambda: pl.Series("x", [{1}, {2}], dtype=pl.Object),
        lambda: pa.table({"x": pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])}),
        lambda: np.array([1, {}], dtype=object),
    ],
)
def test_content_that_cannot_be_saved_costs_the_content_alone(make):
    """The dataset stays; what is lost is told with the library's reason and what to do."""
    [tag, kept, lost] = describe.outputs(make(), "load", Annotated[object, options.Dataset("train", save=True)])
    assert kept == describe.outputs(make(), "load", Annotated[object, options.Dataset("train")])[0]
    assert isinstance(lost, records.Lost)
    assert lost.what == "save the content of 'train'"
    assert ": " in lost.why
    assert "\n" not in lost.why
    assert lost.why.endswith(("return its path.", "array.astype(str)."))
    assert tag == records.Tag("flowml.not_logged.train", f"could not {lost.what}: {lost.why}")


@pytest.mark.parametrize("make", [lambda: pl.Series("x", [1]), lambda: pa.chunked_array([[1]]), lambda: pd.Index([1])])
def test_columns_alone_are_saved_too(make):
    """A series, array or index with `Dataset(save=True)` is kept as Parquet, as tables are."""
    [kept, blob] = describe.outputs(make(), "load", Annotated[object, options.Dataset(save=True)])
    assert isinstance(kept, records.Dataset)
    assert isinstance(blob, records.Blob)
    assert blob.path == "data/load.parquet"
