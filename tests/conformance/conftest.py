"""One MLflow server and one process that is warm, for all cases of the session."""

from __future__ import annotations

import shutil
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from tests.conformance.bench import Bench, warm
from tests.conformance.compare import Mlflow
from tests.conformance.tracker import Flowml, Tracker
from tests.ends.processes import child, until


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory, flowml_empty_store: Path) -> Iterator[Mlflow]:
    """Start a real MLflow server, with a SQLite file and a folder for artifacts that it hands on."""
    folder = tmp_path_factory.mktemp("mlflow")
    shutil.copy(flowml_empty_store, folder / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = Mlflow(f"http://127.0.0.1:{port}", folder / "artifacts")
    command = ["-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(found.artifacts)]

    def healthy() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{found.address}/health", timeout=1) as answer:
            return bool(answer.status == 200)
        return False

    environment = {**Flowml("").environment("", "", folder), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with child(*command, log=folder / "server.log", environment=environment):
        until(healthy, "MLflow answers")
        yield found


@pytest.fixture(scope="session")
def tracker(prefect_server: None) -> Tracker:
    """The tracker that is tested; another one is put here."""
    return Flowml(str(PREFECT_API_URL.value()))


@pytest.fixture(scope="session")
def bench(mlflow_server: Mlflow, tracker: Tracker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """What runs cases."""
    folder = tmp_path_factory.mktemp("cases")
    environment = tracker.environment(mlflow_server.address, "none", folder)
    with warm(environment, folder / "warm.log") as started:
        yield Bench(tracker, mlflow_server, folder, started)
