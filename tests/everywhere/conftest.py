"""Real servers, each a child process: MLflow over HTTP, a served deployment, a task worker."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_LOCAL_STORAGE_PATH, temporary_settings

pytest.register_assert_rewrite("tests.everywhere.stores")

from tests.everywhere.stores import Store  # noqa: E402 - after its asserts were asked to be rewritten
from tests.everywhere.ways import DEPLOYMENT  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory, flowml_empty_store: Path) -> Iterator[str]:
    """Start one real MLflow server for the session; its address."""
    folder = tmp_path_factory.mktemp("mlflow-server")
    shutil.copy(flowml_empty_store, folder / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        f"{folder}/artifacts",
    ]
    address = f"http://127.0.0.1:{port}"

    def healthy() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=1) as answer:
            return bool(answer.status == 200)
        return False

    no_jobs = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # eight processes that nothing here needs
    with child(command, folder / "server.log", no_jobs) as process:
        wait_for(healthy, process, folder / "server.log")
        yield address


@pytest.fixture
def store(
    request: pytest.FixtureRequest, project: Path, prefect_server: None, flowml_empty_store: Path
) -> Iterator[Store]:
    """The store that the test is parametrised with; the user has chosen it, and an experiment, in code."""
    if request.param == "http":
        uri = request.getfixturevalue("mlflow_server")
    else:
        uri = f"sqlite:///{project}/runs.db"
        shutil.copy(flowml_empty_store, project / "runs.db")
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.set_experiment(request.node.name)
    chosen = Store(uri, MlflowClient(uri), experiment.experiment_id)
    chosen.known = frozenset(run.info.run_id for run in chosen.runs())
    yield chosen
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):  # MLflow leaves its choices there for child processes
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def decoy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of the MLflow that the environment of other processes names, where nothing must arrive."""
    return f"sqlite:///{tmp_path_factory.mktemp('decoy')}/decoy.db"


@pytest.fixture(scope="session")
def elsewhere(
    tmp_path_factory: pytest.TempPathFactory, prefect_server: None, decoy: str
) -> Iterator[Mapping[str, str]]:
    """The environment of processes that know this one's Prefect server, but have another MLflow in mind."""
    results = tmp_path_factory.mktemp("results")
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: results}):
        yield {
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
            "PREFECT_LOCAL_STORAGE_PATH": str(results),
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "MLFLOW_TRACKING_URI": decoy,
        }


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory, elsewhere: Mapping[str, str]) -> Iterator[None]:
    """Serve a flow in another process."""
    log = tmp_path_factory.mktemp("deployment") / "served.log"

    def known() -> bool:
        with get_client(sync_client=True) as client, suppress(ObjectNotFound):
            return bool(client.read_deployment_by_name(DEPLOYMENT))
        return False

    with child(["-m", "tests.everywhere.served", "deployment"], log, elsewhere) as process:
        wait_for(known, process, log)
        yield


@pytest.fixture(scope="session")
def task_worker(tmp_path_factory: pytest.TempPathFactory, elsewhere: Mapping[str, str]) -> Iterator[None]:
    """Start a task worker in another process; what is delayed waits until it is there."""
    log = tmp_path_factory.mktemp("task-worker") / "served.log"
    with child(["-m", "tests.everywhere.served", "task_worker"], log, elsewhere):
        yield


@contextmanager
def child(arguments: list[str], log: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python in a process of its own, with only what it is given of MLflow's environment; end it at the end."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "FLOWML_"))}
    inherited |= {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], env={**inherited, **environment}, cwd=ROOT, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, seconds: float = 100) -> None:
    """Ask until it is ready; fail with its log if it ends or takes too long."""
    end = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"not ready: {log.read_text()[-3000:]}")
        time.sleep(0.2)
