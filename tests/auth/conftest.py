"""Servers that ask who it is, behind TLS with a certificate of a private authority."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.auth.fronts import behind_tls, behind_token, make_authority

USER, PASSWORD = "admin", "corr3ct/horse@battery"
TOKEN = "t0ken-of-the-proxy-0123456789"
AUTH_STRING = "ada:hors3-c0rrect-staple"


@dataclass(frozen=True)
class Servers:
    """Where they are.

    Attributes:
        mlflow: MLflow with its own login, over TLS: host and port.
        tokens: MLflow behind a proxy that demands a bearer token, over TLS.
        prefect: Prefect's server with its own login, over TLS.
        plain: MLflow with its own login, without TLS.
        plain_prefect: Prefect's server with its own login, without TLS.
        authority: The certificate to be trusted.
        another: That of another authority.
    """

    mlflow: str
    tokens: str
    prefect: str
    plain: str
    plain_prefect: str
    authority: Path
    another: Path


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def served(command: list[str], folder: Path, **environment: str) -> Iterator[Callable[[str], None]]:
    """Run a server in a folder; gives what waits until it answers at an address."""
    folder.mkdir()
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env={**os.environ, **environment},
            cwd=folder,
            stdout=output,
            stderr=output,
        )

    def wait(address: str) -> None:
        end = time.monotonic() + 100
        while not is_well(address):
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"not ready: {log.read_text()[-3000:]}")
            time.sleep(0.2)

    try:
        yield wait
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_well(health: str) -> bool:
    """Tell whether a server answers, if only that it wants a login."""
    try:
        with urllib.request.urlopen(health, timeout=1) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, flowml_empty_store: Path) -> Iterator[Servers]:
    """Start them for the module."""
    folder = tmp_path_factory.mktemp("logins")
    (folder / "another").mkdir()
    authority, certificate = make_authority(folder)
    another, _ = make_authority(folder / "another")
    shutil.copy(flowml_empty_store, folder / "mlflow.db")
    mlflow, prefect = free_port(), free_port()
    login = folder / "basic_auth.ini"
    login.write_text(
        "[mlflow]\ndefault_permission = READ\nadmin_username = admin\n"
        f"database_uri = sqlite:///{folder}/users.db\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 60\n"  # else each request hashes the password, which takes a quarter of a second
    )
    of_mlflow = ["mlflow", "server", "--app-name", "basic-auth", "--workers", "1", "--host", "127.0.0.1"]
    of_mlflow += ["--port", str(mlflow), "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    of_mlflow += ["--artifacts-destination", f"{folder}/artifacts"]
    of_prefect = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(prefect)]
    with ExitStack() as started:
        mlflow_answers = started.enter_context(
            served(
                of_mlflow,
                folder / "mlflow",
                MLFLOW_AUTH_CONFIG_PATH=str(login),
                MLFLOW_AUTH_ADMIN_PASSWORD=PASSWORD,
                MLFLOW_FLASK_SERVER_SECRET_KEY="a-key-of-this-test",
                MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
            )
        )
        prefect_answers = started.enter_context(
            served(
                of_prefect,
                folder / "prefect",
                PREFECT_SERVER_API_AUTH_STRING=AUTH_STRING,
                PREFECT_HOME=str(folder / "prefect"),
                PREFECT_API_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{folder}/prefect/prefect.db",
            )
        )
        tokens = started.enter_context(behind_token(mlflow, TOKEN, f"{USER}:{PASSWORD}"))
        ports = [started.enter_context(behind_tls(port, certificate)) for port in (mlflow, tokens, prefect)]
        mlflow_answers(f"http://127.0.0.1:{mlflow}/health")
        prefect_answers(f"http://127.0.0.1:{prefect}/api/health")
        over_tls, plain = [f"localhost:{port}" for port in ports], [f"127.0.0.1:{port}" for port in (mlflow, prefect)]
        yield Servers(*over_tls, *plain, authority, another)
