"""Tables and arrays: MLflow datasets with schema, size and a fingerprint, at no great cost."""

from __future__ import annotations

import datetime as dt
import io
import json
import subprocess
import sys
import tracemalloc
from typing import Annotated

import mlflow.data
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from flowml import describe, options, records


def dataset(value, **more) -> records.Dataset:
    """Describe a value as an argument and give its dataset."""
    [found] = [r for r in describe.inputs({"data": value}, more) if isinstance(r, records.Dataset)]
    return found


COLUMNS = {
    "int": [1, 2],
    "int32": np.array([1, 2], "int32"),
    "uint8": np.array([1, 2], "uint8"),
    "float": [1.0, 2.0],
    "float32": np.array([1, 2], "float32"),
    "gap": [1.0, None],
    "bool": [True, False],
    "text": ["a", "b"],
    "text_gap": ["a", None],
    "category": pd.Categorical(["a", "b"]),
    "bytes": [b"a", b"b"],
    "time": pd.to_datetime(["2020-01-01", "2021-01-01"]),
    "time_utc": pd.to_datetime(["2020-01-01", "2021-01-01"]).tz_localize("UTC"),
    "date": [dt.date(2020, 1, 1)] * 2,
    "Int64": pd.array([1, None], dtype="Int64"),
    "boolean": pd.array([True, None], dtype="boolean"),
    "string": pd.array(["a", None], dtype="string"),
    "list": [[1], [2]],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("column", COLUMNS)
def test_a_pandas_schema_is_the_one_that_mlflow_makes(column):
    """Types, names and gaps are those of mlflow.data, and so is the profile."""
    frame = pd.DataFrame({column: COLUMNS[column]})
    theirs = mlflow.data.from_pandas(frame).to_dict()
    ours = dataset(frame)
    assert dict(ours.schema) == json.loads(theirs["schema"])
    assert dict(ours.profile) == json.loads(theirs["profile"])
    assert (ours.name, ours.role, ours.kind) == ("data", "input", "pandas.DataFrame")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 4)),
        np.zeros(3, "int32"),
        np.array(["a", "b"]),
        np.zeros((2, 2), bool),
        np.zeros((2, 3, 4), "float16"),
    ],
    ids=str,
)
def test_an_array_schema_is_the_one_that_mlflow_makes(array):
    """Type and shape are those of mlflow.data."""
    theirs = mlflow.data.from_numpy(array).to_dict()
    ours = dataset(array)
    assert dict(ours.schema) == json.loads(theirs["schema"])
    assert json.loads(theirs["profile"]).items() <= dict(ours.profile).items()
    assert ours.profile["num_rows"] == array.shape[0]


@pytest.mark.filterwarnings("ignore")
def test_a_polars_schema_is_the_one_that_mlflow_makes():
    """Types and names are those of mlflow.data; but a column with gaps is not required, whatever MLflow says of it."""
    frame = pl.DataFrame(
        {
            "a": [1, 2],
            "b": ["x", None],
            "c": [1.5, 2.5],
            "d": [[1], [2]],
            "e": [dt.date(2020, 1, 1)] * 2,
            "f": [True, False],
        }
    )
    theirs = mlflow.data.from_polars(frame).to_dict()
    ours = dataset(frame)
    expected = json.loads(theirs["schema"])
    for column in expected["mlflow_colspec"]:
        column["required"] = column["name"] != "b"
    assert dict(ours.schema) == expected
    assert dict(ours.profile) == json.loads(theirs["profile"])


def test_integer_column_names_stay_integers():
    """A frame without names has MLflow's names: positions."""
    assert [c["name"] for c in dataset(pd.DataFrame([[1, 2.0]])).schema["mlflow_colspec"]] == [0, 1]


TABLES = {
    "pandas": lambda changed: pd.DataFrame({"x": [1, 2, 3], "y": ["a", "b", changed]}),
    "pandas lists": lambda changed: pd.DataFrame({"x": [[1], [2], [changed]]}),
    "pandas series": lambda changed: pd.Series(["a", "b", changed]),
    "pandas wide index": lambda changed: pd.DataFrame({"x": [1, 2]}, index=["a", changed]),
    "polars": lambda changed: pl.DataFrame({"x": [1, 2, 3], "y": ["a", "b", changed]}),
    "polars series": lambda changed: pl.Series("x", ["a", "b", changed]),
    "arrow": lambda changed: pa.table({"x": [1, 2, 3], "y": ["a", "b", changed]}),
    "arrow batch": lambda changed: pa.RecordBatch.from_pydict({"x": [1, 2], "y": ["a", changed]}),
    "arrow array": lambda changed: pa.array(["a", changed]),
    "numpy": lambda changed: np.array([[1, 2], [3, ord(changed)]]),
    "numpy objects": lambda changed: np.array(["a", {"b": changed}], dtype=object),
    "csr": lambda changed: sparse.csr_matrix([[0, 1], [ord(changed), 0]]),
    "csr array": lambda changed: sparse.csr_array([[0, 1], [ord(changed), 0]]),
    "coo": lambda changed: sparse.coo_array([[0, 1], [ord(changed), 0]]),
    "dok": lambda changed: sparse.dok_array(np.array([[0, 1], [ord(changed), 0]])),
    "lil": lambda changed: sparse.lil_matrix([[0, 1], [ord(changed), 0]]),
}


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES.keys())
def test_equal_content_has_an_equal_digest_and_one_changed_cell_another(make):
    """The fingerprint depends on the content alone."""
    first, same, other = dataset(make("c")), dataset(make("c")), dataset(make("d"))
    assert first == same
    assert first.digest != other.digest
    assert len(first.digest) <= 36
    assert first.schema == other.schema


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("gap", [None, float("nan")])
def test_one_gap_in_many_rows_is_a_gap(kind, gap):
    """A column with a value missing anywhere is not required, also where a sample of its rows is looked at."""
    table = kind({"v": [1.0, gap, *[1.0] * 29_998], "whole": [1.0] * 30_000})
    (found,) = describe.inputs({"x": table}, {})
    assert [column["required"] for column in found.schema["mlflow_colspec"]] == [False, True]


@pytest.mark.parametrize("length", [2, 300_000])
@pytest.mark.parametrize("dtype", [int, object])
def test_which_elements_of_an_array_are_masked_is_content(length, dtype):
    """Arrays that differ in their masks alone have other digests; an empty mask is none."""

    def digest_of(value):
        return describe.inputs({"x": value}, {})[0].digest

    values = np.zeros(length, dtype)
    first, last = np.zeros(length, bool), np.zeros(length, bool)
    first[0] = last[-1] = True
    masked = [np.ma.array(values, mask=mask) for mask in (first, first, last, False)]
    one, same, other, none = map(digest_of, masked)
    assert one == same
    assert len({one, other, none}) == 3
    assert none == digest_of(values)


def test_a_frame_that_changed_in_place_has_another_digest():
    """What was found out about an object before says nothing of it once a cell or a column of it was changed."""
    frame = pd.DataFrame(np.arange(15_000.0).reshape(-1, 3), columns=["a", "b", "c"])
    seen = [dataset(frame)]
    for change in (
        lambda: frame.iloc.__setitem__((3, 0), -1.0),
        lambda: frame.__setitem__("b", frame["b"] * 2),
        lambda: frame.__setitem__("d", 1.0),
        lambda: setattr(frame, "columns", ["a", "b", "c", "e"]),
    ):
        change()
        again, copied = dataset(frame), dataset(frame.copy())
        assert again == copied
        seen.append(again)
    assert len({each.digest for each in seen}) == 5


def test_the_digest_is_the_same_in_another_process():
    """Neither hash randomisation nor memory addresses reach it, also those of objects in cells."""
    code = (
        "import numpy as np, pandas as pd, polars as pl\n"
        "from flowml import describe\n"
        "class Thing: pass\n"
        "cells = [{'a', 'b'}, Thing(), ('a', None), Thing]\n"
        "values = [pd.DataFrame({'x': [1, 2], 'y': ['a', 'b']}), np.arange(4.0), pd.DataFrame({'x': cells}),\n"
        "    pl.DataFrame({'x': pl.Series(cells, dtype=pl.Object)}), pd.Series(pd.Categorical(['a', Thing]))]\n"
        "digests = [found.digest for value in values for found in describe.inputs({'value': value}, {})]\n"
    )
    run = subprocess.run([sys.executable, "-c", f"{code}print(digests)"], capture_output=True, text=True, check=True)
    here: dict = {"__name__": "__main__"}
    exec(code, here)
    assert run.stdout.strip() == str(here["digests"])


def test_content_is_stored_only_when_asked():
    """Dataset(save=True) adds the content as Parquet or .npz, and nothing else does."""
    save = options.Dataset("train", save=True)
    values = {
        "f": pd.DataFrame({"x": [1, 2]}),
        "g": pl.DataFrame({"x": [1]}),
        "h": pa.table({"x": [1]}),
        "n": np.arange(3),
        "s": sparse.eye(3).tocsr(),
    }
    assert not [r for r in describe.inputs(values, {}) if isinstance(r, records.Blob)]
    for name, value in values.items():
        found = describe.inputs({name: value}, {name: Annotated[type(value), save]})
        [blob] = [r for r in found if isinstance(r, records.Blob)]
        [described] = [r for r in found if isinstance(r, records.Dataset)]
        assert described.name == "train"
        if name in "ns":
            assert blob.path == "data/train.npz"
            assert np.load(io.BytesIO(blob.data)).files
        else:
            assert blob.path == "data/train.parquet"
            assert pq.read_table(io.BytesIO(blob.data)).num_rows == len(value)


def test_outputs_are_named_after_their_task_or_element():
    """A frame is named after the task, in a tuple by its marker or position."""
    frame = pd.DataFrame({"x": [1]})
    annotation = tuple[Annotated[pd.DataFrame, options.Dataset("train")], pd.DataFrame]
    names = [r.name for r in describe.outputs((frame, frame), "split", annotation)]
    assert names == ["train", "split.1"]
    [one] = describe.outputs(frame, "load")
    assert (one.name, one.role) == ("load", "output")


def test_lists_and_mappings_of_frames_are_described_one_by_one():
    """Each frame in a container is a dataset of its own."""
    frame = pd.DataFrame({"x": [1]})
    found = describe.inputs({"parts": [frame, frame], "by_name": {"a": frame}}, {})
    assert [r.name for r in found if isinstance(r, records.Dataset)] == ["parts.0", "parts.1", "by_name.a"]


def test_a_schema_of_very_many_columns_is_cut_and_says_so():
    """A thousand columns are listed, and the profile has the true number."""
    described = dataset(pd.DataFrame(np.zeros((2, 3000))))
    assert len(described.schema["mlflow_colspec"]) == 1000
    assert described.profile["num_columns"] == 3000
    assert described.profile["num_elements"] == 6000


def test_a_lazy_frame_stays_lazy():
    """What would have to be computed is described by its type."""
    assert describe.inputs({"q": pl.LazyFrame({"x": [1]})}, {}) == [records.Param("q", "LazyFrame")]


def test_numpy_scalars_and_arrays_of_no_dimension_are_numbers():
    """They are what Python has for them."""
    assert describe.outputs(np.float32(0.5), "score") == [records.Metric("score", 0.5)]
    assert describe.outputs(np.array(2), "score") == [records.Metric("score", 2.0)]
    assert describe.outputs(np.bool_(True), "ok") == [records.Param("return", "True")]
    assert describe.inputs({"a": np.int64(3), "t": np.datetime64("2020-01-01", "ns")}, {}) == [
        records.Param("a", "3"),
        records.Param("t", "2020-01-01T00:00:00.000000000"),
    ]


def test_empty_tables_and_arrays_are_described():
    """No rows or no columns is a size like any other."""
    for value in (
        pd.DataFrame(),
        pd.DataFrame({"x": []}),
        pl.DataFrame(),
        pa.table({}),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
    ):
        assert dataset(value).profile["num_elements"] == 0


def test_a_torch_tensor_is_a_dataset_and_a_loss_a_number():
    """Tensors are arrays; one of no dimension is a number, also with a gradient."""
    torch = pytest.importorskip("torch")
    assert dataset(torch.zeros(2, 3)).schema == dataset(np.zeros((2, 3), "float32")).schema
    assert describe.outputs(torch.tensor(0.5, requires_grad=True), "loss") == [records.Metric("loss", 0.5)]


def memory_of_describing(value) -> float:
    """Give the megabytes that describing takes at most."""
    dataset(value)  # libraries load and caches fill on first use
    tracemalloc.start()
    dataset(value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def large(kind: str):
    """Make a large value, as cheaply as can be."""
    rows = 10_000_000
    match kind:
        case "numpy 1 GB":
            return np.zeros((rows, 13))
        case "pandas":
            return pd.DataFrame(
                {name: np.zeros(rows) for name in "abc"} | {"text": np.full(rows, "x")[:rows].astype(object)}
            )
        case "pandas wide":
            return pd.DataFrame(np.zeros((10_000, 5_000)))
        case "polars":
            return pl.DataFrame({"a": np.zeros(rows), "b": np.zeros(rows, "int32")}).with_columns(
                pl.lit("x").alias("t")
            )
        case "arrow":
            return pa.table({"a": np.zeros(rows), "b": np.zeros(rows, "int32")})
        case _:
            return sparse.csr_matrix((np.ones(rows), np.zeros(rows, "int32"), np.arange(rows + 1)), shape=(rows, 1))


@pytest.mark.parametrize("kind", ["numpy 1 GB", "pandas", "pandas wide", "polars", "arrow", "csr"])
def test_a_gigabyte_is_described_without_a_copy(kind):
    """It takes less than 50 MB besides the value, ten million rows of it or 5,000 columns."""
    assert memory_of_describing(large(kind)) < 50
