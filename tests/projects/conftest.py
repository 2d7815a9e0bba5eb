"""A store for each program, as a file or behind a server, and Prefect's server for all of them."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def served_store(tmp_path_factory: pytest.TempPathFactory, flowml_empty_store: Path) -> Iterator[Callable[[], str]]:
    """Start one MLflow server for the module, and give what empties its store and returns its address."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copy(flowml_empty_store, folder / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/files"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # processes that nothing here needs
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **quiet}, cwd=folder, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"

    def emptied() -> str:
        with (
            closing(sqlite3.connect(flowml_empty_store)) as nothing,
            closing(sqlite3.connect(folder / "mlflow.db", timeout=30)) as database,
        ):
            nothing.backup(database)
        return address

    try:
        _wait_for(address, process, folder / "server.log")
        yield emptied
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 100
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=1) as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    pytest.fail(f"not ready: {log.read_text()[-3000:]}")
