"""Where the contestants write: a folder for everything, one MLflow store for each, and what is counted in it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT": "600",  # on a busy machine MLflow gives up and writes less
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}
_TO_SET_UP_ANEW = ("FLOWML_", "MLFLOW_", "PREFECT_API_")
_PATIENCE = 300.0  # seconds for a server to start
_plain: Any = None  # what makes MLflow's sessions, and its requests' headers


@dataclass(frozen=True)
class Store:
    """One contestant's experiment in MLflow.

    Attributes:
        name: The experiment's name.
        uri: The tracking URI.
        experiment_id: The experiment; None where flowml makes it.
    """

    name: str
    uri: str
    experiment_id: str | None

    def use(self) -> None:
        """Make it the one that MLflow and flowml write to."""
        import mlflow

        os.environ |= {"FLOWML_TRACKING_URI": self.uri, "FLOWML_EXPERIMENT": self.name}
        mlflow.set_tracking_uri(self.uri)
        _connect_anew(cheaply=self.experiment_id is None)

    def make_durable(self) -> None:
        """Wait for the disk, where the database itself did not: what counts as written survives a power cut."""
        if self.uri.startswith("sqlite"):
            path = Path(self.uri.removeprefix("sqlite:///"))
            for file in (path, path.with_name(f"{path.name}-wal")):
                if file.exists():
                    with file.open("rb") as opened:
                        os.fsync(opened.fileno())

    def runs(self) -> list[Any]:
        """Return all finished runs."""
        from mlflow import MlflowClient

        client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name(self.name)
        if experiment is None:
            return []
        found, token = [], None
        while token or not found:
            page = client.search_runs(
                [experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=1000, page_token=token
            )
            found += page
            token = page.token
            if not token:
                break
        return found

    def complete(self, params: int, metrics: int) -> int:
        """Count the finished runs that have so many parameters and metrics."""
        return sum((len(run.data.params), len(run.data.metrics)) == (params, metrics) for run in self.runs())


def _connect_anew(*, cheaply: bool) -> None:
    """Let MLflow open new connections: as it does by itself, or as with flowml."""
    from mlflow.tracking.request_header.databricks_request_header_provider import DatabricksRequestHeaderProvider
    from mlflow.utils import request_utils

    from flowml.store.backend import requests

    global _plain  # noqa: PLW0603 - MLflow's own, before flowml is there
    provider: Any = DatabricksRequestHeaderProvider
    _plain = _plain or (request_utils._get_request_session, provider.in_context)  # noqa: SLF001
    request_utils._get_request_session, provider.in_context = _plain  # noqa: SLF001
    request_utils._cached_get_request_session.cache_clear()  # noqa: SLF001
    requests.install.cache_clear()
    if cheaply:
        requests.install()


@dataclass(frozen=True)
class Ground:
    """Where one benchmark takes place; all that it writes is below one folder, which is removed afterwards."""

    folder: Path
    server: str | None

    def store(self, name: str, *, flowmls: bool = False) -> Store:
        """Make a contestant's store: an experiment on the server, or a database that its owner sets up as usual.

        Args:
            name: The contestant's.
            flowmls: Whether it is flowml's, so that flowml sets it up.
        """
        from mlflow import MlflowClient

        place = self.folder / name.replace(" ", "-")
        place.mkdir(exist_ok=True)
        if self.server:
            experiment_id = None if flowmls else MlflowClient(self.server).create_experiment(name)
            return Store(name, self.server, experiment_id)
        uri = f"sqlite:///{place / 'mlflow.db'}"
        if flowmls:
            os.environ["FLOWML_HOME"] = str(place)
            return Store(name, uri, None)
        artifacts = (place / "artifacts").as_uri()
        return Store(name, uri, MlflowClient(uri).create_experiment(name, artifact_location=artifacts))


@contextmanager
def ground(options: Namespace) -> Iterator[Ground]:
    """Prepare the folder, the environment and the server; to be entered before Prefect and MLflow are imported."""
    folder = Path(tempfile.mkdtemp(prefix="flowml-bench-", dir=options.folder)).resolve()
    for name in [name for name in os.environ if name.startswith(_TO_SET_UP_ANEW)]:
        del os.environ[name]
    os.environ |= {**_QUIET, "PREFECT_HOME": str(folder / "prefect")}
    try:
        if options.store == "http":
            with _server(folder, options.workers) as url:
                yield Ground(folder, url)
        else:
            yield Ground(folder, None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _server(folder: Path, workers: int | None) -> Iterator[str]:
    """Run ``mlflow server`` as people start it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    command += ["--workers", str(workers)] if workers else []
    url = f"http://127.0.0.1:{port}"
    # Its seven job processes, for evaluations asked for in the browser, would still be starting during the first turns.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
        )
        try:
            _wait_until_healthy(url, server)
            yield url
        finally:
            _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server with its workers; what was measured is not lost over one that hangs."""
    for ending in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, ending)
        with suppress(subprocess.TimeoutExpired):
            server.wait(30)
            return


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()  # noqa: S310 - its scheme is ours
        except OSError:
            time.sleep(0.2)
        else:
            return
    msg = "`mlflow server` did not start"
    raise SystemExit(msg)
