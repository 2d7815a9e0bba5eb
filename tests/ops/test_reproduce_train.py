"""``flows/train.py`` in a clean clone, run again there: it is equal, or what differs is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import threadpoolctl
from prefect.settings import PREFECT_API_URL
from sklearn.datasets import load_breast_cancer
from tests.ops.test_reproduce import over_this_one, wheel
from tests.provenance.repository import git

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
OTHER_ROW = 'table.loc[0, "mean radius"] += 1.0\n    train, test = split('
Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clean clone of this repository."""
    git(tmp_path, "clone", "-q", str(ROOT), "clone")
    return tmp_path / "clone"


@pytest.fixture
def typed(clone: Path, tmp_path: Path, prefect_server: None) -> Typed:
    """Start Python in the clone, with its code and an empty home."""
    (tmp_path / "home").mkdir()
    told = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWML_", "MLFLOW_"))}
    told |= {
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(clone / "src"),
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
    }
    return lambda *words: subprocess.run(
        [sys.executable, *words], cwd=clone, env=told, capture_output=True, text=True, check=False
    )


def again(typed: Typed, *words: str) -> tuple[int, dict[str, Any]]:
    """Run the last run of it again; return the exit code and what was said."""
    said = typed("-m", "flowml", "reproduce", "training", "--json", *words)
    assert said.stdout, said.stderr
    return said.returncode, json.loads(said.stdout)


def differing(told: Mapping[str, Any], kind: str) -> set[str]:
    """Return the tasks in whose runs something of a kind differs."""
    return {each["of"] for each in told["differences"] if each["kind"] == kind}


def test_a_clean_clone(clone: Path, typed: Typed, tmp_path: Path) -> None:
    """It is equal; with another row the data are named, and the file; with another package, that and its versions."""
    assert typed("flows/train.py").returncode == 0
    code, told = again(typed, "--python", sys.executable)
    assert (code, told["equal"], told["causes"]) == (0, True, []), told
    assert (told["compared"]["runs"], told["diff"], told["left_out"]) == (16, "none", [])
    assert git(clone, "status", "--porcelain") == ""

    own = Path(threadpoolctl.__file__).read_text()
    other = over_this_one(tmp_path, wheel(tmp_path, "9.9.0", "threadpoolctl", own))
    code, told = again(typed, "--python", other)
    (cause,) = told["causes"]
    assert (code, told["equal"]) == (0, True), told  # it does the same
    assert (cause["what"], cause["before"], cause["after"]) == (
        "package threadpoolctl",
        threadpoolctl.__version__,
        "9.9.0",
    )

    flow = clone / "flows" / "train.py"
    flow.write_text(flow.read_text().replace("train, test = split(", OTHER_ROW))
    code, told = again(typed, "--here")
    assert (code, differing(told, "data") >= {"validate", "split", "fit"}) == (1, True), told
    (cause,) = told["causes"]
    assert (cause["what"], cause["before"]) == ("changes since the commit", "none")
    assert cause["after"].startswith("flows/train.py (")


def test_a_table_that_git_does_not_have(clone: Path, typed: Typed) -> None:
    """Its file is named as one that git does not have; after a row of it has changed, the data are."""
    table = clone / "table.csv"
    load_breast_cancer(as_frame=True).frame.to_csv(table, index=False)
    assert typed("flows/train.py", "--data", "table.csv").returncode == 0
    code, told = again(typed, "--python", sys.executable, "--data", "table.csv")
    assert (code, told["left_out"]) == (0, ["table.csv"]), told
    rows = table.read_text().splitlines()
    table.write_text("\n".join([*rows[:-1], rows[-1].replace(rows[-1].split(",")[0], "99.9", 1)]) + "\n")
    code, told = again(typed, "--python", sys.executable, "--data", "table.csv")
    assert (code, told["causes"]) == (1, []), told
    assert "validate" in differing(told, "data")
