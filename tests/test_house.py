"""The rules of the house that no linter keeps."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import flowml

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "src" / "flowml").rglob("*.py"))
BANNED = {"base", "common", "handler", "handlers", "helper", "helpers", "manager", "managers", "util", "utils"}
HEAVY = {
    *("mlflow", "numpy", "pandas", "polars", "pyarrow", "scipy", "sklearn", "skops", "statsmodels"),
    *("altair", "bokeh", "matplotlib", "PIL", "plotly"),
    *("catboost", "keras", "lightgbm", "prophet", "torch", "transformers", "xgboost"),
}


def top_level_modules(statement: str) -> set[str]:
    """Run one statement in a fresh interpreter and give the packages that it loaded."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_modules_have_names_that_say_something():
    """No module or package is called utils, helpers, manager, handler, base or common."""
    names = {part.removesuffix(".py") for path in MODULES for part in path.relative_to(ROOT / "src").parts}
    assert names.isdisjoint(BANNED)


def test_the_map_names_every_room():
    """CONTRIBUTING.md has a line for each room and each file at the top, and none for one that is gone."""
    house = (ROOT / "CONTRIBUTING.md").read_text().partition("src/flowml/\n")[2].partition("```")[0]
    drawn: set[str] = set()
    folders: list[str] = []
    for line in house.splitlines():
        names = re.match(r"( *)([a-z_]+(?:/|\.py)(?:, [a-z_]+\.py)*)", line)
        for name in names[2].split(", ") if names else ():
            del folders[len(names[1]) // 2 - 1 :]
            drawn.add("".join([*folders, name]))
            if name.endswith("/"):
                folders.append(name)
    package = ROOT / "src" / "flowml"
    rooms = {f"{path.parent.relative_to(package).as_posix()}/" for path in MODULES if path.name == "__init__.py"}
    assert drawn == (rooms - {"./"}) | {path.name for path in MODULES if path.parent == package} - {"__init__.py"}


def test_no_room_is_too_full():
    """No room holds more than 15 files, and each says what it is for and which words it has."""
    rooms = {path.parent for path in MODULES}
    assert {room.name: len(list(room.glob("*.py"))) for room in rooms if len(list(room.glob("*.py"))) > 15} == {}
    silent = [room.name for room in rooms if "Words: " not in (room / "__init__.py").read_text()]
    assert sorted(silent) == ["flowml"]


def test_importing_flowml_loads_no_heavy_library():
    """``import flowml`` loads no data, model or plotting library that ``import prefect`` does not load itself."""
    with_prefect = top_level_modules("from prefect import flow, task")
    with_flowml = top_level_modules("from flowml import flow, task")
    assert "flowml" in with_flowml
    assert (with_flowml - with_prefect) & HEAVY == set()


def test_the_command_begins_without_prefect_and_mlflow():
    """``flowml --help`` answers at once: each command loads what it needs when it is called."""
    assert {"prefect", "mlflow", "pandas"}.isdisjoint(top_level_modules("import flowml.cli.app"))


def test_the_public_names_are_listed_in_order():
    """``flowml.__all__`` is sorted and names nothing twice."""
    assert list(flowml.__all__) == sorted(set(flowml.__all__))


@pytest.mark.parametrize("name", flowml.__all__)
def test_a_public_name_is_documented(name):
    """Each public name exists and has a docstring that somebody wrote."""
    public = getattr(flowml, name)
    written = inspect.getdoc(public) or ""
    assert written
    assert not written.startswith(f"{name}(")  # what a dataclass makes up
