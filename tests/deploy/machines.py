"""What stands for several machines: each has a home, folders and an environment of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from tests.ends.processes import until
from tests.postgres import Postgres
from tests.stack.conftest import ROOT

QUIET = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


class Machine:
    """A machine.

    Attributes:
        folder: All that it has.
        work: The folder that its programs begin in.
        environment: All that its programs are told.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.work = folder / "work"
        for one in (self.work, folder / "home", folder / "tmp"):
            one.mkdir(parents=True)
        given = os.environ.get("PYTHONPATH", "")
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ},
            **QUIET,
            "HOME": str(folder / "home"),
            "PREFECT_HOME": str(folder / "home" / ".prefect"),
            "TMPDIR": str(folder / "tmp"),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *([given] if given else [])]),
            **environment,
        }

    @contextmanager
    def running(self, *command: str, log: str = "", **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run Python until it is told to end, or to be killed with all that it started."""
        with (self.folder / f"{log or command[0]}.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=self.work,
                env={**self.environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def run(self, *command: str, code: int = 0) -> str:
        """Run Python to its end; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.work,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def die(self) -> None:
        """End all its programs at once, as a power cut does."""
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get("HOME") == self.environment["HOME"]:
                    process.kill()

    def said(self) -> str:
        """Return the end of what its programs said."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*.log")))

    def files(self) -> list[Path]:
        """Return its files, but for logs."""
        # Not by rglob, which fails when a folder vanishes before it is looked into.
        every = [Path(folder, name) for folder, _, names in os.walk(self.folder) for name in names]
        return [path for path in every if path.suffix != ".log"]

    def databases(self) -> list[Path]:
        """Return the SQLite files that it has."""
        return [path for path in self.files() if path.open("rb").read(15) == b"SQLite format 3"]


@contextmanager
def servers(machine: Machine, postgres: Postgres) -> Iterator[tuple[str, str]]:
    """Run both servers on a machine as docs/how-to/scaling.md has them, over databases; yields their addresses."""
    prefect_port, mlflow_port = free_ports(2)
    prefect, mlflow = f"http://127.0.0.1:{prefect_port}", f"http://127.0.0.1:{mlflow_port}"
    postgres.create("prefect")
    over = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres.uri("prefect", "postgresql+asyncpg")}
    stores = {"MLFLOW_BACKEND_STORE_URI": postgres.create("mlflow"), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    of_mlflow = ["mlflow", "server", "--port", str(mlflow_port), "--workers", "1"]
    of_mlflow += ["--allowed-hosts", "127.0.0.1,127.0.0.1:*", "--cors-allowed-origins", mlflow]
    with (
        machine.running("prefect", "server", "start", "--port", str(prefect_port), **over),
        machine.running(*of_mlflow, "--artifacts-destination", str(machine.folder / "artifacts"), **stores),
    ):
        for address in (f"{prefect}/api/health", f"{mlflow}/health"):
            until(lambda address=address: answers(address), f"{address} answers", 120)
        yield f"{prefect}/api", mlflow


def answers(address: str) -> bool:
    """Tell whether a server answers."""
    with suppress(OSError), urllib.request.urlopen(address, timeout=2) as answer:
        return bool(answer.status == 200)
    return False


def listens(port: int) -> bool:
    """Tell whether something listens on a port."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    """Return ports on which nothing listens."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()
