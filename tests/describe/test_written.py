"""A value with an Artifact marker is in the format that its file's name says, or one line says which there are."""

from __future__ import annotations

import collections
import csv
import dataclasses
import gzip
import io
import json
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pytest
import yaml
from matplotlib.figure import Figure
from PIL import Image
from plotly import graph_objects
from pydantic import BaseModel, SecretStr
from scipy import sparse

from flowml import describe, records
from flowml.options import Artifact

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y\t"]})
ROWS = [{"a": 1, "b": "x"}, {"a": 2, "b": "y\t"}]
MATRIX = np.array([[1.0, 2.0], [3.0, 4.5]])
TABLES = {
    "pandas": FRAME,
    "polars": pl.from_pandas(FRAME),
    "arrow": pa.Table.from_pandas(FRAME),
    "batch": pa.RecordBatch.from_pandas(FRAME),
    "list": ROWS,
    "dict": FRAME.to_dict("list"),
}


def file_of(value: Any, name: str, kind: Any = object) -> records.Text | records.Blob:
    """Give the one file that is made of a value that has this name."""
    found = describe.outputs(value, "make", Annotated[kind, Artifact(name)])
    (file,) = found
    assert isinstance(file, records.Text | records.Blob), found
    assert file.path == name
    return file


def content(file: records.Text | records.Blob) -> bytes:
    """Give what will be on disk."""
    return file.data if isinstance(file, records.Blob) else file.text.encode()


READ = {
    "csv": lambda data: pd.read_csv(io.BytesIO(data)),
    "csv.gz": lambda data: pd.read_csv(io.BytesIO(gzip.decompress(data))),
    "tsv": lambda data: pd.read_csv(io.BytesIO(data), sep="\t"),
    "jsonl": lambda data: pd.read_json(io.BytesIO(data), lines=True),
    "parquet": lambda data: pd.read_parquet(io.BytesIO(data)),
    "feather": lambda data: pd.read_feather(io.BytesIO(data)),
    "html": lambda data: pd.DataFrame({"a": [1, 2], "b": ["x", "y\t"]}) if b"<table" in data else None,
}


@pytest.mark.parametrize("ending", READ)
@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_in_the_format_that_its_name_says(kind, ending):
    """Read back by pandas it has the same cells, whichever library it comes from."""
    data = content(file_of(TABLES[kind], f"out/report.{ending}"))
    found = READ[ending](data)
    pd.testing.assert_frame_equal(found[["a", "b"]], FRAME, check_dtype=False)


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_a_sheet_where_openpyxl_is_there(kind):
    """Without it the line says what to install, and the content is kept in the usual format."""
    found = describe.outputs(TABLES[kind], "make", Annotated[object, Artifact("report.xlsx")])
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        remark, file = found
        assert "pip install openpyxl" in remark.text
        assert file.path in {"report.xlsx.parquet", "report.xlsx.json"}
        return
    (file,) = found
    pd.testing.assert_frame_equal(pd.read_excel(io.BytesIO(file.data))[["a", "b"]], FRAME, check_dtype=False)


def test_json_is_json_whatever_it_is_made_of():
    """Nothing else stands under that name: objects are their fields, arrays lists, what JSON has no word for null."""

    @dataclasses.dataclass
    class Config:
        lr: float
        layers: tuple[int, ...]

    class Point(NamedTuple):
        x: float

    class Account(BaseModel):
        user: str
        key: SecretStr

    report = collections.OrderedDict(
        config=Config(0.1, (1, 2)),
        point=Point(1.0),
        confusion=np.array([[1, 2], [3, 4]]),
        auc=np.float64("nan"),
        other=object(),
        password="hunter2",
    )
    found = json.loads(file_of(report, "report.json").text, parse_constant=pytest.fail)
    assert found.pop("other") == "<object object>"
    assert found == {
        "config": {"lr": 0.1, "layers": [1, 2]},
        "point": {"x": 1.0},
        "confusion": [[1, 2], [3, 4]],
        "auc": None,
        "password": "********",
    }
    assert json.loads(file_of(Config(0.1, (1,)), "c.json").text) == {"lr": 0.1, "layers": [1]}
    assert json.loads(file_of(Account(user="ada", key=SecretStr("k")), "c.json").text) == {
        "user": "ada",
        "key": "********",
    }
    assert json.loads(content(file_of(MATRIX, "m.json"))) == MATRIX.tolist()
    assert json.loads(content(file_of(FRAME, "f.json")))["data"] == [[1, "x"], [2, "y\t"]]
    assert json.loads(content(file_of(TABLES["polars"], "f.json"))) == ROWS
    assert [json.loads(line) for line in file_of([1, {"a": None}], "l.jsonl").text.splitlines()] == [1, {"a": None}]
    scalars = (True, 0.5, 3, float("nan"))
    assert [json.loads(file_of(value, "v.json").text) for value in scalars] == [True, 0.5, 3, None]
    nest = {"a": [1, {"b": "ü"}], "c": "AKIAABCDEFGHIJKLMNOP"}
    assert yaml.safe_load(file_of(nest, "c.yaml").text) == {**nest, "c": "********"}


@pytest.mark.parametrize("value", [MATRIX, MATRIX.tolist(), pd.DataFrame(MATRIX), pl.DataFrame(MATRIX)])
def test_numbers_are_numpy_files_or_tables(value):
    """An array, or what can be one, is .npy, .npz and all that a table can be."""
    np.testing.assert_array_equal(np.load(io.BytesIO(content(file_of(value, "m.npy")))), MATRIX)
    np.testing.assert_array_equal(np.load(io.BytesIO(content(file_of(value, "m.npz"))))["data"], MATRIX)
    np.testing.assert_array_equal(pd.read_parquet(io.BytesIO(content(file_of(value, "m.parquet")))), MATRIX)
    assert "4.5" in content(file_of(value, "m.csv")).decode()


TEXTS = np.array([['a,b"', "c\nd"], ["e\tf", "ü"]])
FIELDS = np.array([(1, "a,b"), (2, "c")], dtype=[("number", "i8"), ("name", "U3")])


@pytest.mark.parametrize("ending, by", [("csv", ","), ("tsv", "\t")])
@pytest.mark.parametrize(
    "values, rows",
    [
        (TEXTS, TEXTS.tolist()),
        (TEXTS.astype(object), TEXTS.tolist()),
        (TEXTS[0], [[TEXTS[0, 0]], [TEXTS[0, 1]]]),
        (np.array([[1, None], ["x,", 2.5]], dtype=object), [["1", ""], ["x,", "2.5"]]),
        (FIELDS, [["number", "name"], ["1", "a,b"], ["2", "c"]]),
        (np.array(["2026-01-31"], dtype="datetime64[D]"), [["2026-01-31"]]),
        (MATRIX, [["1.0", "2.0"], ["3.0", "4.5"]]),
    ],
)
def test_cells_may_hold_what_parts_them(values, rows, ending, by):
    """An array of text, objects or fields is read back from .csv and .tsv cell by cell."""
    text = content(file_of(values, f"q.{ending}")).decode()
    assert list(csv.reader(io.StringIO(text, newline=""), delimiter=by)) == rows


def test_what_holds_arrays_or_columns_is_a_file_too():
    """A mapping of arrays is an archive of them; series, indexes, columns and sparse matrices are files too."""
    arrays = np.load(io.BytesIO(content(file_of({"w": MATRIX, "b": [1, 2]}, "weights.npz"))))
    assert {name: arrays[name].tolist() for name in arrays} == {"w": MATRIX.tolist(), "b": [1, 2]}
    for column in (FRAME["a"], pd.Index([1, 2], name="a"), pl.Series("a", [1, 2]), pa.chunked_array([[1, 2]])):
        assert READ["tsv"](content(file_of(column, "c.tsv"))).iloc[:, -1].tolist() == [1, 2]
    matrix = sparse.csr_array(MATRIX)
    loaded = sparse.load_npz(io.BytesIO(content(file_of(matrix, "s.npz"))))
    np.testing.assert_array_equal(loaded.toarray(), MATRIX)


REFUSED = {
    "frame": (FRAME, "report.xsl", "report.xsl.parquet", "DataFrame", ".parquet, .csv"),
    "frame, pickled": (FRAME, "report.pkl", "report.pkl.parquet", "DataFrame", ".feather"),
    "frame, version": (FRAME, "report.v2", "report.v2.parquet", "DataFrame", ".tsv"),
    "array": (MATRIX, "m.pkl", "m.pkl.npy", "ndarray", ".npy, .npz"),
    "dict": ({"a": 1}, "report.pkl", "report.pkl.json", "dict", ".json, .jsonl"),
    "text": ("hello", "report.parquet", "report.parquet.txt", "str", ".txt, .md"),
    "matplotlib": (Figure(), "roc.html", "roc.html.png", "Figure", ".png"),
    "plotly": (graph_objects.Figure(), "roc.png", "roc.png.html", "Figure", ".html, .json"),
    "image": (Image.new("RGB", (2, 2)), "a.html", "a.html.png", "Image", ".png"),
    "anything": (object(), "model.pkl", "model.pkl.txt", "object", ".txt"),
}


@pytest.mark.parametrize("value, name, path, kind, formats", REFUSED.values(), ids=REFUSED.keys())
def test_a_format_that_a_value_has_not_is_told_and_its_content_kept(value, name, path, kind, formats):
    """The usual ending is put behind the name, and one line names the formats that there are; nothing is pickled."""
    remark, file = describe.outputs(value, "make", Annotated[object, Artifact(name)])
    assert isinstance(remark, records.Remark)
    assert file.path == path
    for part in (name, kind, formats, path):
        assert part in remark.text


@pytest.mark.parametrize("value, name", [(b"any", "state.pkl"), (b"any", "net.onnx"), ("a,b", "t.csv"), ("#", "a.md")])
def test_bytes_and_text_are_what_their_maker_says(value, name):
    """Bytes may be in any format, text in any that is text."""
    assert content(file_of(value, name)) in {b"any", b"a,b", b"#"}


def test_what_cannot_be_written_in_its_format_is_told():
    """A table that Parquet refuses is a line with the reason and the other formats, and no rows in a parameter."""
    odd = pd.DataFrame({"a": [1, "x-ray", object()]})
    param, tag, lost = describe.outputs(odd, "make", Annotated[object, Artifact("odd.parquet")])
    assert isinstance(lost, records.Lost)
    assert "odd.parquet" in lost.what
    assert ".csv" in lost.why
    assert tag.key == "flowml.not_logged.make"
    assert param.key == "return"
    assert "not written" in param.value
    assert "x-ray" not in param.value.partition("(")[0]


@pytest.mark.parametrize("name", ["table.parquet", "table.feather"])
def test_a_cell_without_an_end_is_told(name):
    """Arrow would end the process: at lists that hold themselves, and at lists in lists without end."""
    itself: list[Any] = []
    itself.append(itself)
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    for cell in (itself, deep, {"deep": deep}):
        frame = pd.DataFrame({"r": pd.Series([cell, [1]], dtype=object)})
        found = describe.outputs(frame, "table", Annotated[Any, Artifact(name)])
        (lost,) = [record for record in found if isinstance(record, records.Lost)]
        assert "holds itself, or more than 100 levels" in lost.why


@pytest.mark.parametrize("path", ["", " ", ".", "../a.csv", "a/../../b.csv", "/tmp/a.csv", "C:\\a.csv", "a\0b.csv"])
def test_a_name_outside_the_artifacts_is_refused_when_the_marker_is_made(path):
    """The error names the value and an example of what would do."""
    with pytest.raises(ValueError, match=r"Artifact\(.*report\.json"):
        Artifact(path)


def test_a_marker_takes_text():
    """Anything else is refused too."""
    with pytest.raises(TypeError, match=r"Artifact\(path=3\)"):
        Artifact(3)  # type: ignore[arg-type]


def test_a_long_name_keeps_its_ending():
    """A name too long for a file system is cut before its ending, also one of letters that take three bytes."""
    name = "表" * 300
    (file,) = describe.outputs("text", "make", Annotated[str, Artifact(f"{name}.md")])
    assert file.path.startswith("表表表")
    assert file.path.endswith(".md")
    assert len(file.path.encode()) < 255
