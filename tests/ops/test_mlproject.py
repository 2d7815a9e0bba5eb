"""``flowml export-mlproject``: a flow as a project that ``mlflow run`` runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL
from tests.ops.conftest import Said
from tests.runs import run_of

Flowml = Callable[..., Said]

FILE = """
from datetime import date
from pathlib import Path

from flowml import flow


@flow
def training(
    n: int,
    share: float = 0.5,
    label: str = "a 'b' c",
    names: list[str] = ["x", "y"],
    day: date | None = None,
    where: Path = Path("some/place"),
    free="3",
    password: str = "l0velace99",
    thing: complex = 1j,
) -> float:
    assert (label, names, free) == ("a 'b' c", ["x", "y"], "3"), (label, names, free)
    assert day is None
    assert where == Path("some/place")
    return n * share


@flow
def scoring(model: Path) -> None: ...
"""


@pytest.fixture
def file(client: MlflowClient, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file with two flows, in a folder of the project."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = project / "flows" / "work.py"
    path.parent.mkdir()
    path.write_text(FILE)
    yield path
    for name in [
        name for name, one in sys.modules.items() if str(getattr(one, "__file__", "")).startswith(str(project))
    ]:
        del sys.modules[name]


def written(folder: Path) -> dict[str, Any]:
    """Read the project."""
    return yaml.safe_load((folder / "MLproject").read_text())


def test_parameters_are_those_of_the_flow(file: Path, project: Path, flowml: Flowml) -> None:
    """Each has its type and its default as text; one whose default no text stands for keeps the flow's own."""
    said = flowml("export-mlproject", "flows/work.py:training")
    assert (said.code, said.out) == (0, f"mlflow run {project} -e training\n"), said
    (point,) = written(project)["entry_points"].values()
    assert point["parameters"] == {
        "n": {"type": "float"},
        "share": {"type": "float", "default": "0.5"},
        "label": {"type": "string", "default": "a 'b' c"},
        "names": {"type": "string", "default": '["x", "y"]'},
        "day": {"type": "string", "default": "null"},
        "where": {"type": "string", "default": "some/place"},
        "free": {"type": "string", "default": '"3"'},
    }
    assert "password: " in said.err
    assert "thing: " in said.err
    assert point["command"].startswith(
        "python -m flowml run flows/work.py:training --param n={n} --param share={share}"
    )


def test_all_flows_of_a_file(file: Path, project: Path, flowml: Flowml) -> None:
    """Without a name there is an entry point for each flow; those of other programs stay."""
    (project / "MLproject").write_text("name: churn\nentry_points:\n  main:\n    command: echo\n")
    assert flowml("export-mlproject", "flows/work.py", "--to", str(project)).code == 0
    found = written(project)
    assert (found["name"], list(found["entry_points"])) == ("churn", ["main", "training", "scoring"])
    assert found["entry_points"]["scoring"]["parameters"] == {"model": {"type": "path"}}


def test_the_environment_is_that_of_now(file: Path, project: Path, flowml: Flowml) -> None:
    """python_env.yaml has this Python and its packages; one that is there already stays."""
    flowml("export-mlproject", "flows/work.py:scoring")
    found = yaml.safe_load((project / "python_env.yaml").read_text())
    assert found["python"] == sys.version.split()[0]
    assert any(line.startswith("mlflow==") for line in found["dependencies"])
    (project / "python_env.yaml").write_text("python: '3.11'\n")
    assert "stays as it is" in flowml("export-mlproject", "flows/work.py:scoring").err
    assert (project / "python_env.yaml").read_text() == "python: '3.11'\n"


@pytest.mark.parametrize(
    "words, why",
    [
        (["flows/none.py"], "There is no file flows/none.py"),
        (["flows/work.py:trainin"], "has no flow 'trainin'. Did you mean 'training'?"),
        (["flows/work.py:training", "--to", "nowhere"], "there is no such folder"),
        (["flows/work.py:training", "--to", ".flowml"], "which would be the project"),
    ],
)
def test_what_cannot_be(words: list[str], why: str, file: Path, flowml: Flowml) -> None:
    """A wrong flow or folder ends with 2, and nothing is written."""
    said = flowml("export-mlproject", *words)
    assert (said.code, why in said.err) == (2, True), said
    assert not Path("MLproject").exists()


@pytest.mark.slow
@pytest.mark.e2e
def test_mlflow_runs_it(
    client: MlflowClient, file: Path, project: Path, flowml: Flowml, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``mlflow run`` calls the flow with the defaults as they were, and with what it is told."""
    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    assert flowml("export-mlproject", "flows/work.py:training").code == 0
    words = ["mlflow", "run", ".", "-e", "training", "-P", "n=3", "--env-manager", "local"]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    assert run_of(MlflowClient(client.tracking_uri), "training").data.metrics["training"] == 1.5
