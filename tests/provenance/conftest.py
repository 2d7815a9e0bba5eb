"""A git repository with a flow in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from tests.provenance.repository import committed

from flowml.ops.launch.loading import load

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


@pytest.fixture
def repository(client: MlflowClient, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project as a repository with one commit, in which flows/work.py has the flow ``training``."""
    with committed(project, {"flows/work.py": FILE}, monkeypatch):
        yield project


@pytest.fixture
def train(repository: Path) -> Callable[..., Any]:
    """Call the flow, with whatever parameters."""

    def call(**parameters: Any) -> Any:
        return load(str(repository / "flows" / "work.py") + ":training")(**parameters)

    return call
