"""A git repository with a flow in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from flowml.ops.launch.loading import load
from flowml.provenance import packages

FILE = """
from pathlib import Path
from typing import Annotated, Any

from flowml import Skip, flow, task


@task
def half(n: int) -> float:
    return n / 2


@flow
def inner(n: int) -> float:
    return half(n)


@flow
def training(n: int = 4, where: Path = Path("a"), untyped=Path("b"), table: Any = None, password: str = "x",
             note: str = "", hidden: Annotated[str, Skip()] = "h") -> float:
    return inner(n)
"""


def git(folder: Path, *words: str) -> str:
    """Call git in a folder, as somebody."""
    named = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *words]
    return subprocess.run(named, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(client: MlflowClient, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project as a repository with one commit, in which flows/work.py has the flow ``training``."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    packages.installed.cache_clear()
    (project / "flows").mkdir()
    (project / "flows" / "work.py").write_text(FILE)
    (project / ".gitignore").write_text(".flowml\n__pycache__\n")
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "Begin")
    yield project
    packages.installed.cache_clear()
    for name in [
        name for name, one in sys.modules.items() if str(getattr(one, "__file__", "")).startswith(str(project))
    ]:
        del sys.modules[name]


@pytest.fixture
def train(repository: Path) -> Callable[..., Any]:
    """Call the flow, with whatever parameters."""

    def call(**parameters: Any) -> Any:
        return load(str(repository / "flows" / "work.py") + ":training")(**parameters)

    return call
