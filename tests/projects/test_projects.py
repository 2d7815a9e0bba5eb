from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL

from tests.projects.own_runs import masked, own_runs

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
IMPORT = "from prefect import flow, task\n"
SWAPPED = "from flowml import flow, task\n"
BY_ENVIRONMENT = {"search", "autologged"}  # those that name no store in their code
NAMES = ["search", "taxi", "promote", "autologged", "cli", "two"]
BOTH = [pytest.param(name, id=name, marks=[] if name == "taxi" else [pytest.mark.slow]) for name in NAMES]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@dataclass
class Seen:
    """What a program leaves behind: how it ended, what it said last, and the runs that it opened itself."""

    status: int
    said: Any
    runs: list[dict[str, Any]]
    log: str


@dataclass
class Program:
    """A program that runs.

    Attributes:
        process: Its process.
        log: Where its output goes.
        stores: The tracking URIs of the stores that it may use.
    """

    process: subprocess.Popen[bytes]
    log: Path
    stores: list[str]

    def seen(self) -> Seen:
        """Wait for its end and return what it left behind."""
        status = self.process.wait(200)
        said, log = self.log.read_text(), self.log.with_suffix(".err").read_text()
        last = json.loads(said.splitlines()[-1]) if status == 0 else None
        return Seen(status, masked(last), [run for store in self.stores for run in own_runs(store)], said + log)


@dataclass
class Desk:
    """Where programs are run.

    Attributes:
        folder: Where each gets a folder to work in.
        empty: A store without runs, to be copied.
    """

    folder: Path
    empty: Path

    def start(self, name: str, line: str, store: str | None = None) -> Program:
        """Start a program of this folder, with this line in place of its import of Prefect's decorators.

        Args:
            name: The program.
            line: The import.
            store: The tracking URI. Default: a file of its own.
        """
        folder = self.folder / f"{name}-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        first, second = store or f"sqlite:///{folder}/first.db", f"sqlite:///{folder}/second.db"
        for file in ("first.db", "second.db"):
            shutil.copy(self.empty, folder / file)
        MlflowClient(first).create_experiment("somebody else's")  # an experiment's id differs from store to store
        source = (HERE / f"{name}.py").read_text()
        assert source.count(IMPORT) == 1
        (folder / f"{name}.py").write_text(source.replace(IMPORT, line))
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "FLOWML_"))}
        environment = {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT": "1",  # else autologging starts a second Python to ask
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
            "PREFECT_LOCAL_STORAGE_PATH": str(folder / "results"),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            **({"MLFLOW_TRACKING_URI": first} if name in BY_ENVIRONMENT else {}),
        }
        command = [sys.executable, f"{name}.py", first]
        with (folder / "log.out").open("wb") as out, (folder / "log.err").open("wb") as err:
            process = subprocess.Popen(command, cwd=folder, env={**inherited, **environment}, stdout=out, stderr=err)
        return Program(process, folder / "log.out", [first, second])


@pytest.fixture
def desk(tmp_path: Path, flowml_empty_store: Path, prefect_server: None) -> Desk:
    """Where the programs of one test are run."""
    return Desk(tmp_path, flowml_empty_store)


def expect_the_same(swapped: Seen, plain: Seen) -> None:
    """Check that a program with its import changed did all that it did before."""
    assert plain.status == 0, plain.log[-3000:]
    assert plain.runs, "the program opens runs of its own"
    assert swapped.status == 0, swapped.log[-3000:]
    assert swapped.said == plain.said
    assert swapped.runs == plain.runs


@pytest.mark.parametrize("name", BOTH)
def test_the_import_changes_nothing_in_a_file(name: str, desk: Desk) -> None:
    """A program that keeps its runs in a file sees and leaves the same when flowml's decorators are imported."""
    swapped, plain = desk.start(name, SWAPPED), desk.start(name, IMPORT)
    expect_the_same(swapped.seen(), plain.seen())


@pytest.mark.parametrize("name", BOTH)
def test_the_import_changes_nothing_on_a_server(name: str, desk: Desk, served_store: Callable[[], str]) -> None:
    """A program that keeps its runs on a server sees and leaves the same when flowml's decorators are imported."""
    plain = desk.start(name, IMPORT, served_store()).seen()
    swapped = desk.start(name, SWAPPED, served_store()).seen()
    expect_the_same(swapped, plain)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOTH)
def test_a_program_is_the_same_each_time(name: str, desk: Desk) -> None:
    """What these tests compare is not random: a program as it is written leaves the same twice."""
    first, second = desk.start(name, IMPORT), desk.start(name, IMPORT)
    expect_the_same(first.seen(), second.seen())
