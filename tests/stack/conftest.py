"""The command ``flowml`` in a project of its own, with an empty home and nothing set."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from flowml.stack import ports

ROOT = Path(__file__).parents[2]
SECONDS = 300  # both servers, on a busy machine


class Project:
    """A project folder, with what is run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLFLOW_", "FLOWML_", "PREFECT_", "_MLFLOW_"))
        }
        self.environment |= {"HOME": str(folder / "home"), "PYTHONPATH": str(ROOT / "src"), "DO_NOT_TRACK": "true"}
        (folder / "home").mkdir(parents=True)
        (folder / "below").mkdir()
        (folder / "pyproject.toml").touch()

    def popen(self, *arguments: str, below: str = "", **variables: str) -> subprocess.Popen[str]:
        """Start Python in the project, or in a folder below it."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder / below,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def python(self, *arguments: str, below: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the project to its end."""
        with self.popen(*arguments, below=below, **variables) as process:
            try:
                out, err = process.communicate(timeout=SECONDS)
            finally:
                process.kill()  # else a program that hangs is waited for without end
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def flowml(self, *arguments: str, below: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command ``flowml`` to its end."""
        return self.python("-m", "flowml.cli.app", *arguments, below=below, **variables)

    def processes(self) -> list[psutil.Process]:
        """Find every process that has something to do with this project's servers."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                home = process.environ().get("HOME")
                if home == self.environment["HOME"] and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def end(self) -> None:
        """End what a failed test left."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Project]:
    """A project in which nothing runs yet."""
    project = Project(tmp_path / "place")
    yield project
    project.end()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, str]]:
    """A project whose servers were started while their usual ports were taken; and what ``flowml up`` said."""
    project = Project(tmp_path_factory.mktemp("running") / "project")
    with ExitStack() as taken:
        for port in (4200, 5000):
            if ports.is_free("127.0.0.1", port):
                listener = taken.enter_context(socket.socket())
                # As servers do: without it a port is taken for a minute after a server of another test ended.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(("127.0.0.1", port))
                listener.listen()
        started = project.flowml("up", "--detach")
        assert started.returncode == 0, started.stderr
        yield project, started.stdout
    project.flowml("down")
    project.end()


def urls(said: str) -> tuple[str, str]:
    """Read both addresses from what ``flowml up`` said."""
    prefect, mlflow = (re.search(rf"{name} +(http://[^\s/]+)", said) for name in ("Prefect", "MLflow"))
    assert prefect, said
    assert mlflow, said
    return prefect[1], mlflow[1]


def wait_until(true: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Ask until it is true; fail if a process ends meanwhile."""
    until = time.monotonic() + SECONDS
    while not true():
        if time.monotonic() > until or (process and process.poll() is not None):
            pytest.fail("it never was")
        time.sleep(0.1)
