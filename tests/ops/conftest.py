"""Flow runs that all tests of a file look at, and the command in this process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import mlflow
import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from tests.ops import looked_at

from flowml import settings
from flowml.cli import app
from flowml.store.backend import connection


class Said(NamedTuple):
    """What a command said, and the code that it ended with."""

    out: str
    err: str
    code: int


@pytest.fixture
def flowml(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run the command in this process."""

    def run(*words: str) -> Said:
        capsys.readouterr()
        code = 0
        try:
            app.main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return Said(said.out, said.err, code)

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, flowml_empty_store: Path, prefect_server: None) -> Path:
    """Make the runs once."""
    folder = tmp_path_factory.mktemp("history")
    (folder / "pyproject.toml").touch()
    (folder / ".flowml").mkdir()
    shutil.copy(flowml_empty_store, folder / ".flowml" / "mlflow.db")
    results = temporary_settings(
        {PREFECT_LOCAL_STORAGE_PATH: folder / "results"}
    )  # else those of a run before are found
    with pytest.MonkeyPatch.context() as patch, results:
        _enter(folder, patch)
        looked_at.make()
        mlflow.set_tracking_uri(None)
    return folder


@pytest.fixture
def history(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """Work in the project that has the runs."""
    _enter(made, monkeypatch)
    yield connection.connect().client
    mlflow.set_tracking_uri(None)


def _enter(folder: Path, patch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "FLOWML_"))]:
        if name not in {"MLFLOW_DISABLE_TELEMETRY", "MLFLOW_TRACKING_URI"}:
            patch.delenv(name)
    patch.chdir(folder)
    mlflow.set_tracking_uri(None)
    settings.reload()
