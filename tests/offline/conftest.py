"""Projects that work offline, the stores that they are meant for, and what was tracked once for all tests to copy."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.tracing.client import TracingClient
from tests.offline.small import fill
from tests.ops.conftest import flowml  # noqa: F401 - a fixture
from tests.projects.conftest import served_store  # noqa: F401 - a fixture

from flowml import settings
from flowml.store.backend import embedded, offline
from flowml.store.copying.ends import Ends

MEANT = "http://mlflow.invalid:5000"  # a name that nobody has: RFC 2606


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep MLflow's progress bars out of what failed tests print."""
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


@pytest.fixture
def offline_project(project: Path, monkeypatch: pytest.MonkeyPatch, flowml_empty_store: Path) -> Iterator[Path]:
    """A project that works offline; its runs are meant for a server that cannot be reached."""
    offline.forget()
    shutil.copy(flowml_empty_store, project / ".flowml" / "offline.db")
    monkeypatch.setenv("FLOWML_OFFLINE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", MEANT)
    settings.reload()
    yield project
    monkeypatch.delenv("FLOWML_OFFLINE")
    settings.reload()
    offline.forget()


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, flowml_empty_store: Path) -> Path:
    """The database of a store in which a little of everything was tracked by MLflow's own words."""
    folder = tmp_path_factory.mktemp("tracked")
    shutil.copy(flowml_empty_store, folder / "offline.db")
    fill(f"sqlite:///{folder}/offline.db", folder)
    return folder / "offline.db"


@pytest.fixture
def ends(tracked: Path, tmp_path: Path, flowml_empty_store: Path) -> Callable[[], Ends]:
    """Make a copy of that store, and an empty one for it to be copied to, anew at each call."""
    number = iter(range(1_000))

    def fresh() -> Ends:
        folder = tmp_path / str(next(number))
        folder.mkdir()
        with closing(sqlite3.connect(tracked)) as there, closing(sqlite3.connect(folder / "offline.db")) as here:
            there.backup(here)
        shutil.copy(flowml_empty_store, folder / "target.db")
        uris = [f"sqlite:///{folder}/{name}.db" for name in ("offline", "target")]
        for uri in uris:
            embedded.tune(uri)
        source, target = map(MlflowClient, uris)
        return Ends(source, target, TracingClient(target.tracking_uri))

    return fresh


@pytest.fixture
def small(project: Path, flowml_empty_store: Path) -> Path:
    """A project in which a little was tracked offline."""
    shutil.copy(flowml_empty_store, project / ".flowml" / "offline.db")
    shutil.copy(flowml_empty_store, project / "team.db")
    fill(offline.uri(), project / ".flowml")
    return project


@pytest.fixture
def source(small: Path) -> MlflowClient:
    """A client of its offline store."""
    return MlflowClient(offline.uri())


@pytest.fixture
def team(small: Path) -> MlflowClient:
    """A client of the store that it is meant for."""
    return MlflowClient(f"sqlite:///{small}/team.db")


@pytest.fixture(params=["a database", "a server"])
def to(team: MlflowClient, request: pytest.FixtureRequest) -> MlflowClient:
    """A client of a store that is copied to."""
    return team if request.param == "a database" else MlflowClient(request.getfixturevalue("served_store")())
