"""A real Airflow with its scheduler, and the servers of Prefect and MLflow, for all tests together."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from three import Airflow, Servers, until

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
# The interpreter with flowml; its own Airflow is this one.
PYTHON = os.environ.get("FLOWML_TEST_PYTHON", str(ROOT / ".venv/bin/python"))
QUIET = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "SCARF_ANALYTICS": "false",
    "SCARF_NO_ANALYTICS": "true",
}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Prefect's and MLflow's servers, started by ``flowml up``."""
    folder = tmp_path_factory.mktemp("servers")
    (folder / "pyproject.toml").touch()
    prefect, mlflow = free_port(), free_port()
    environment = {**_without_airflow(), **QUIET, "HOME": str(folder), "PYTHONPATH": str(ROOT / "src")}
    up = [PYTHON, "-m", "flowml", "up", "--detach", f"--prefect-port={prefect}", f"--mlflow-port={mlflow}"]
    subprocess.run(up, cwd=folder, env=environment, check=True, stdin=subprocess.DEVNULL)
    yield Servers(
        f"http://127.0.0.1:{prefect}",
        f"http://127.0.0.1:{mlflow}",
        {
            **QUIET,
            "PYTHONPATH": str(ROOT / "src"),
            "PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api",
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}",
            "FLOWML_HOME": str(folder / "flowml"),
            "PREFECT_HOME": str(folder / "prefect"),
        },
    )
    subprocess.run([PYTHON, "-m", "flowml", "down"], cwd=folder, env=environment, check=True)


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[Airflow]:
    """``airflow standalone``, with the DAGs of these tests."""
    home = tmp_path_factory.mktemp("airflow")
    shutil.copytree(HERE / "dags", home / "dags")
    (home / "markers").mkdir()
    port, log = free_port(), home / "standalone.log"
    environment = _environment(home, port, servers)
    program = Path(sys.executable).with_name("airflow")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(program), "standalone"],
            env=environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        one = Airflow(f"http://127.0.0.1:{port}", home)
        until(one.is_up, 180, f"Airflow did not start; see {log}")
        yield one
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def _environment(home: Path, port: int, servers: Servers) -> dict[str, str]:
    here = f"http://127.0.0.1:{port}"
    return {
        **_without_airflow(),
        **QUIET,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{here}/execution/",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__BASE_URL": here,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__AUTH_BACKENDS": "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth",
        "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port),
        "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
        "AIRFLOW__WEBSERVER__BASE_URL": here,
        "AIRFLOW__WEBSERVER__WORKERS": "1",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__PARSING_PROCESSES": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(free_port()),
        "FLOWML_TEST_PYTHON": PYTHON,
        "FLOWML_TEST_ENV": json.dumps(servers.environment),
        "FLOWML_TEST_MARKERS": str(home / "markers"),
    }


def _without_airflow() -> dict[str, str]:
    ours = ("AIRFLOW", "FLOWML_", "MLFLOW_", "PREFECT_", "_MLFLOW_", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
