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
    """CONTRIBUTING.md has a line for each module, and none for a module that is gone."""
    house = (ROOT / "CONTRIBUTING.md").read_text().partition("src/flowml/\n")[2].partition("```")[0]
    drawn: set[str] = set()
    folders: list[str] = []
    for indent, name in re.findall(r"^( *)([a-z_]+(?:/|\.py))", house, flags=re.MULTILINE):
        del folders[len(indent) // 2 - 1 :]
        if name.endswith("/"):
            folders.append(name)
        else:
            drawn.add("".join([*folders, name]))
    there = {path.relative_to(ROOT / "src" / "flowml").as_posix() for path in MODULES}
    assert drawn == {name for name in there if not name.endswith("/__init__.py")}


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
