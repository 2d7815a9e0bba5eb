"""Values of the standard library: parameters, metrics, files, each as the user would expect."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import functools
import json
import sys
import uuid
from collections import OrderedDict, deque, namedtuple
from pathlib import Path
from typing import Annotated, NamedTuple

import attrs
import pydantic
import pytest

from flowml import describe, options, records


class Color(enum.Enum):
    """Known by its value."""

    RED = "red"


class Optimizer(str, enum.Enum):
    """A text too."""

    ADAM = "adam"


@dataclasses.dataclass
class Config:
    """A dataclass with a field that is not to be logged."""

    lr: float
    layers: list[int]
    note: Annotated[str, options.Skip()] = "hidden"


class Point(NamedTuple):
    """Two numbers."""

    x: float
    y: float


@attrs.define
class Span:
    """An attrs class."""

    start: int


class Settings(pydantic.BaseModel):
    """A model with a field that is a metric."""

    depth: int = 3
    rows: Annotated[int, options.Metric("seen")] = 7


Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - people still write it


def params(found) -> dict[str, str]:
    """Give the parameters."""
    return {r.key: r.value for r in found if isinstance(r, records.Param)}


def metrics(found) -> dict[str, float]:
    """Give the metrics."""
    return {r.key: r.value for r in found if isinstance(r, records.Metric)}


SCALARS = {
    "1": 1,
    "0.1": 0.1,
    "True": True,
    "None": None,
    "text": "text",
    "red": Color.RED,
    "adam": Optimizer.ADAM,
    "2020-01-02": dt.date(2020, 1, 2),
    "2020-01-02T03:04:05": dt.datetime(2020, 1, 2, 3, 4, 5),  # noqa: DTZ001
    "1 day, 0:00:00": dt.timedelta(days=1),
    "12345678-1234-5678-1234-567812345678": uuid.UUID("12345678123456781234567812345678"),
    "nowhere/data.csv": Path("nowhere/data.csv"),
    "1.50": decimal.Decimal("1.50"),
    "range(0, 3)": range(3),
    "json.decoder.JSONDecoder": json.JSONDecoder,
    "partial(json.dumps)": functools.partial(json.dumps, indent=2),
    '[1, "a", null]': [1, "a", None],
    '["red", "2020-01-02"]': (Color.RED, dt.date(2020, 1, 2)),
    "[[1, 2], [3]]": [[1, 2], [3]],
    '[{"lr": 0.1}]': [{"lr": 0.1}],
    '["a", "b"]': {"b", "a"},
    "[1, 2]": deque([1, 2]),
    "{}": {},
    "<object object>": object(),
}


@pytest.mark.parametrize("text, value", SCALARS.items(), ids=SCALARS.keys())
def test_an_argument_becomes_a_parameter(text, value):
    """One value is one text."""
    assert describe.inputs({"x": value}, {}) == [records.Param("x", text)]


FIELDS = {
    "dict": ({"a": 1, "b": {"c": "d"}}, {"x.a": "1", "x.b.c": "d"}),
    "ordered": (OrderedDict(a=1), {"x.a": "1"}),
    "dataclass": (Config(0.1, [3, 4]), {"x.lr": "0.1", "x.layers": "[3, 4]"}),
    "named tuple": (Point(1.0, 2.0), {"x.x": "1.0", "x.y": "2.0"}),
    "namedtuple": (Pair(1, "b"), {"x.a": "1", "x.b": "b"}),
    "attrs": (Span(1), {"x.start": "1"}),
    "pydantic": (Settings(), {"x.depth": "3"}),
    "keys of any type": ({1: "a", None: "b", (1, 2): "c"}, {"x.1": "a", "x.None": "b", "x._1_ 2_": "c"}),
}


@pytest.mark.parametrize("value, expected", FIELDS.values(), ids=FIELDS.keys())
def test_fields_of_an_argument_are_flattened(value, expected):
    """Each field is a parameter a.b.c; a field marked Skip is none, one marked Metric a metric."""
    assert params(describe.inputs({"x": value}, {})) == expected


def test_markers_on_fields_count():
    """A pydantic field marked Metric is a metric under its marker's name."""
    assert metrics(describe.inputs({"x": Settings()}, {})) == {"seen": 7.0}


RETURNED = {
    "number": (0.5, [records.Metric("train", 0.5)]),
    "decimal": (decimal.Decimal("0.5"), [records.Metric("train", 0.5)]),
    "mapping": ({"accuracy": 0.9, "b": {"c": 1}}, [records.Metric("accuracy", 0.9), records.Metric("b.c", 1.0)]),
    "mixed": ({"accuracy": 0.9, "kind": "rf"}, [records.Param("kind", "rf"), records.Metric("accuracy", 0.9)]),
    "history": ([3.0, 2.0], [records.Metric("train", 3.0, 0), records.Metric("train", 2.0, 1)]),
    "histories": ({"loss": [3.0, 2.0]}, [records.Metric("loss", 3.0, 0), records.Metric("loss", 2.0, 1)]),
    "list of mappings": ([{"loss": 3}, {"loss": 2}], [records.Metric("loss", 3.0, 0), records.Metric("loss", 2.0, 1)]),
    "tuple": ((1, "a"), [records.Param("train.1", "a"), records.Metric("train.0", 1.0)]),
    "tuple with metrics": (("a", {"accuracy": 0.9}), [records.Param("train.0", "a"), records.Metric("accuracy", 0.9)]),
    "named tuple": (Point(1.0, 2.0), [records.Metric("x", 1.0), records.Metric("y", 2.0)]),
    "bool": (True, [records.Param("return", "True")]),
    "short text": ("done", [records.Param("return", "done")]),
    "long text": ("word " * 100, [records.Text("train.txt", "word " * 100)]),
    "nothing": (None, []),
    "bytes": (b"abc", [records.Blob("train.bin", b"abc")]),
    "anything": (object(), [records.Param("return", "<object object>")]),
    "scalars": (["a", 1], [records.Param("return", '["a", 1]')]),
}


@pytest.mark.parametrize("value, expected", RETURNED.values(), ids=RETURNED.keys())
def test_what_a_task_returned_is_described_by_its_type(value, expected):
    """Numbers are metrics, long texts files, the rest parameters."""
    assert describe.outputs(value, "train") == expected


def test_markers_win_over_types():
    """An annotation says how a value is logged, in a tuple that of each element."""
    assert describe.outputs(3, "count", Annotated[int, options.Param("rows")]) == [records.Param("rows", "3")]
    assert describe.outputs(True, "ok", Annotated[bool, options.Metric()]) == [records.Metric("ok", 1.0)]
    assert describe.outputs({"a": 1}, "t", Annotated[dict, options.Metric("valid")]) == [records.Metric("valid.a", 1.0)]
    assert describe.outputs({"a": 1}, "t", Annotated[dict, options.Param()]) == [records.Param("a", "1")]
    assert describe.outputs({"a": 1}, "t", Annotated[dict, options.Artifact("r.json")]) == [
        records.Text("r.json", '{"a": 1}')
    ]
    assert describe.outputs("hi", "t", Annotated[str, options.Artifact()]) == [records.Text("t.txt", "hi")]
    assert describe.inputs({"lr": 0.1}, {"lr": Annotated[float, options.Metric()]}) == [records.Metric("lr", 0.1)]
    assert describe.inputs({"lr": 0.1}, {"lr": Annotated[float, options.Skip]}) == []
    hint = tuple[Annotated[float, options.Metric("auc")], Annotated[str, options.Skip()]]
    assert describe.outputs((0.5, "x"), "t", hint) == [records.Metric("auc", 0.5)]
    [table] = describe.outputs([{"a": 1}], "t", Annotated[list, options.Dataset("rows")])
    assert (table.name, table.kind) == ("rows", "pandas.DataFrame")


def test_what_a_generator_yields_are_metrics_at_its_step():
    """Numbers and mappings of numbers count, and nothing else."""
    assert describe.yielded(0.5, "train", 3) == [records.Metric("train", 0.5, 3)]
    assert describe.yielded({"loss": 1, "b": {"c": 2}, "s": "x"}, "train", 4) == [
        records.Metric("loss", 1.0, 4),
        records.Metric("b.c", 2.0, 4),
    ]
    assert describe.yielded("text", "train", 0) == []
    assert describe.yielded([1, 2], "train", 0) == []


def test_values_logged_by_name_have_that_name():
    """`flowml.log(accuracy=0.9, note="x")` is metric accuracy and parameter note."""
    assert describe.named({"accuracy": 0.9, "note": "x", "scores": {"a": 1}}) == [
        records.Param("note", "x"),
        records.Metric("accuracy", 0.9),
        records.Metric("scores.a", 1.0),
    ]


def test_methods_and_futures_show_their_type_only():
    """self, cls and Prefect's states are not looked into."""
    from prefect.states import Completed

    found = describe.inputs({"self": Config(1, []), "cls": Config, "state": Completed(data=1)}, {})
    assert params(found)["self"] == "Config"
    assert params(found)["cls"].endswith(".Config")
    assert params(found)["state"] == "State"


def test_files_are_known_by_size_and_digest(tmp_path):
    """A file that exists is a digest as an input and a copy as an output."""
    file = tmp_path / "data.csv"
    file.write_bytes(b"a" * 12_000)
    [given] = describe.inputs({"file": file, "raw": b"abc"}, {})[:1]
    assert given.value.startswith(f"{file} (12 kB, sha256:")
    assert describe.outputs(file, "write") == [records.File("", file)]
    assert describe.outputs(file, "write", Annotated[Path, options.Artifact("in/data.csv")]) == [
        records.File("in", file)
    ]
    assert describe.outputs(file, "write", Annotated[Path, options.Artifact("x.csv")]) == [
        records.File("", file, "x.csv")
    ]
    assert describe.outputs(tmp_path, "write") == [records.File("", tmp_path)]
    assert params(describe.inputs({"raw": b"abc"}, {}))["raw"].startswith("3 B, sha256:ba7816bf")


def test_iterators_and_open_files_are_not_used_up(tmp_path):
    """Describing leaves what can be read once for the task."""
    numbers = iter([1, 2])
    generator = (n for n in [1, 2])
    with (tmp_path / "f.txt").open("w+") as file:
        file.write("abc")
        file.seek(0)
        for value in (numbers, generator, file):
            describe.inputs({"x": value}, {})
            describe.outputs(value, "t")
        assert file.read() == "abc"
    assert list(numbers) == list(generator) == [1, 2]


def test_circles_and_depths_end():
    """A list that holds itself, and a very deep nest, are described."""
    circle: dict = {"a": 1}
    circle["self"] = circle
    assert "circular reference" in params(describe.inputs({"x": circle}, {}))["x.self"]
    deep: list = []
    for _ in range(5_000):
        deep = [deep]
    assert len(describe.inputs({"x": deep}, {})) == 1
    nest: dict = {"v": 1}
    for _ in range(2_000):
        nest = {"n": nest}
    assert len(describe.outputs(nest, "t")) == 1


def test_an_object_that_refuses_everything_is_known_by_its_type():
    """Whatever an object's own methods raise, its type is told."""

    class Refuses:
        def _no(self, *_):
            msg = "no"
            raise ValueError(msg)

        __repr__ = __len__ = __eq__ = __iter__ = __getattr__ = __hash__ = __bool__ = _no

    assert params(describe.inputs({"x": Refuses()}, {})) == {"x": "<Refuses>"}
    assert params(describe.outputs(Refuses(), "t")) == {"return": "<Refuses>"}


def test_memory_addresses_are_left_out():
    """The same kind of object gives the same parameter in each run."""

    class Plain:
        pass

    assert " at 0x" not in params(describe.inputs({"x": Plain()}, {}))["x"]


def test_a_registered_type_is_described_in_the_users_way():
    """Subclasses are served too, and an error in it does not go further."""

    class Invoice:
        total = 12

    class Paid(Invoice):
        pass

    assert "Invoice" in params(describe.inputs({"x": Invoice()}, {}))["x"]

    @describe.register(Invoice)
    def _(value, place):
        yield records.Param(place.key("total"), str(value.total))

    assert params(describe.inputs({"x": Paid()}, {})) == {"x.total": "12"}
    assert params(describe.outputs(Paid(), "t")) == {"total": "12"}

    def broken(value, place):
        msg = f"cannot: {value.total}, password=hunter2"
        raise KeyError(msg)

    describe.register(Paid, broken)
    text = params(describe.inputs({"x": Paid()}, {}))["x"]
    assert text.startswith("Paid (not described: KeyError")
    assert "hunter2" not in text
    with pytest.raises(TypeError, match="takes a type"):
        describe.register("Invoice")  # type: ignore[call-overload]


def test_a_librarys_describers_load_when_its_first_object_is_seen():
    """register_lazy calls its function once, for a subclass too."""
    module = type(sys)("lazy_library")
    exec("class Thing: pass", module.__dict__)
    loaded = []

    def load():
        loaded.append(1)
        describe.register(module.Thing, lambda _, place: [records.Param(place.label, "a thing")])

    describe.register_lazy("lazy_library", load)
    assert not loaded

    class Mine(module.Thing):
        pass

    for _ in range(2):
        assert params(describe.inputs({"x": Mine()}, {})) == {"x": "a thing"}
    assert loaded == [1]


def test_an_installed_package_can_bring_describers(tmp_path, monkeypatch):
    """The entry point group flowml.describers is read when an unknown type is first seen."""
    import subprocess

    (tmp_path / "parcels.py").write_text(
        "class Parcel: pass\n"
        "def describers():\n"
        "    from flowml import describe, records\n"
        "    describe.register(Parcel, lambda value, place: [records.Param(place.label, 'a parcel')])\n"
    )
    info = tmp_path / "parcels-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parcels\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[flowml.describers]\nparcels = parcels:describers\nbroken = nowhere:x\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = "import parcels; from flowml import describe; print(describe.inputs({'x': parcels.Parcel()}, {}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "a parcel" in run.stdout
    assert "nowhere:x" in run.stderr


def test_the_environment_is_known_by_its_type_only(monkeypatch):
    """Its values are anyone's secrets, under whatever name."""
    import os

    monkeypatch.setenv("AAA", "hunter2")
    assert params(describe.inputs({"env": os.environ}, {})) == {"env": "_Environ"}
    assert params(describe.outputs(os.environ, "t")) == {"return": "_Environ"}
