"""Every private name of another library that flowml uses has a contract here."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowml.patches import mlflow, others, prefect
from flowml.patches.private import PrivateName

HERE = Path(__file__).parent
SOURCES = sorted((HERE.parents[1] / "src" / "flowml").rglob("*.py"))
DOCUMENTED = {"_asdict", "_fields", "_replace", "_value_", "_name_"}  # of named tuples and enumerations
NOT_HERE = {"_fingerprint"}  # of Hugging Face's datasets, which are not installed for the tests
_PRIVATE = re.compile(r"_[a-zA-Z]\w*[a-zA-Z0-9]")


def foreign(source: str) -> set[str]:
    """Find the private names in a module that the module does not define itself."""
    tree = ast.parse(source)
    return {name for name in _used(tree) if _PRIVATE.fullmatch(name)} - set(_own(tree)) - DOCUMENTED - NOT_HERE


def _used(tree: ast.AST) -> Iterator[str]:
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if not module.startswith("flowml"):
                yield from [*module.split("."), *(each.name for each in names)]
            case ast.Attribute(attr=name):
                yield name
            case ast.Constant(value=str(text)) if re.fullmatch(r"[\w.]+", text) and id(node) not in parts:
                yield text.rpartition(".")[2]


def _own(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(attr=name) if name.startswith(("_flowml", "_self_")):  # flowml's own, on others' objects
                yield name


@pytest.mark.parametrize(
    "code, name",
    [
        ("from prefect.context import _deployment_id", "_deployment_id"),
        ("from prefect.types._datetime import now", "_datetime"),
        ("import mlflow\nmlflow.x._stack", "_stack"),
        ("getattr(thing, '_stack', None)", "_stack"),
        ("WRAPPED = {'Engine._report': 1}", "_report"),
    ],
)
def test_a_private_name_is_found(code: str, name: str) -> None:
    """Imported, as an attribute, and as text by which it is looked up."""
    assert foreign(code) == {name}


def test_private_names_are_in_one_room() -> None:
    """Nothing outside `patches` names what another library keeps to itself."""
    outside = [path for path in SOURCES if path.parent.name != "patches"]
    assert {(path.name, name) for path in outside for name in foreign(path.read_text())} == set()


NAMES = [pytest.param(each, id=each.name) for each in (*prefect.NAMES, *mlflow.NAMES, *others.NAMES)]


@pytest.mark.parametrize("name", NAMES)
def test_a_private_name_is_there(name: PrivateName) -> None:
    """Each installed version has it; where one has it no more, one warning says what is lost, and nothing fails."""
    assert name.is_there()
    assert name.is_written()  # `flowml doctor` need not import the library to tell
    assert name.use
    assert name.without


def test_a_private_name_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """It is missed with one warning."""
    gone = PrivateName("mlflow.tracking.fluent", "_gone", "finds something", "something is lost")
    with caplog.at_level(logging.WARNING):
        assert (gone.get(), gone.get(), gone.is_there()) == (None, None, False)
    assert [line for line in caplog.messages if "something is lost" in line] == caplog.messages[:1]


def test_every_private_name_has_a_contract() -> None:
    """One that none of these tests names could change in a new version, and only users would see it."""
    contracts = "".join(file.read_text() for file in HERE.glob("test_*.py") if file.name != Path(__file__).name)
    named = set(re.findall(r"\w+", contracts))
    assert {each.values[0].name.rpartition(".")[2] for each in NAMES} - named == set()  # type: ignore[union-attr]
