"""How each server is started: its command line and its environment."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flowml.stack.processes import environment_without

# What is meant for flows does not steer the servers.
_OF_FLOWS = (
    *("PREFECT_API_", "PREFECT_HOME", "PREFECT_PROFILE", "PREFECT_UI_", "FLOWML_"),
    *("MLFLOW_EXPERIMENT_", "MLFLOW_REGISTRY_", "MLFLOW_RUN_ID", "MLFLOW_TRACKING_", "_MLFLOW_"),
)
_OFF = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


@dataclass(frozen=True, slots=True)
class Launch:
    """What it takes to start a server.

    Attributes:
        name: ``prefect`` or ``mlflow``.
        url: Where it will answer.
        command: Its command line; no password is in it, for everybody on the machine can read it.
        environment: All of its environment.
    """

    name: str
    url: str
    command: Sequence[str]
    environment: Mapping[str, str]


def prefect(host: str, port: int, *, database: str, home: Path) -> Launch:
    """Start Prefect's server, with a home and a database of its own."""
    url = address(host, port)
    environment = {
        **environment_without(*_OF_FLOWS),
        **_OFF,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": asynchronous(database),
        # Without it the page asks for the API at port 4200, whatever the server's port; so it asks where it came from.
        "PREFECT_SERVER_UI_API_URL": "/api",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_CLI_PROMPT": "false",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
    return Launch("prefect", url, command, environment)


def mlflow(host: str, port: int, *, database: str, artifacts: str) -> Launch:
    """Start MLflow's server over this database and these artifacts."""
    # Its seven job processes, for evaluations asked for in the browser, take 600 MB; who wants them sets it.
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **environment_without(*_OF_FLOWS), **_OFF}
    environment["MLFLOW_BACKEND_STORE_URI"] = database
    if not is_local(host):
        names = _names(host)
        environment.setdefault("MLFLOW_SERVER_ALLOWED_HOSTS", ",".join([*names, *(f"{name}:*" for name in names)]))
        origins = [f"http://{name}:{port}" for name in names]
        environment.setdefault("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", ",".join(origins))
    # One worker answers in 1 to 10 ms; the default four stall 44 ms on each kept-alive call.
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    command += ["--artifacts-destination", artifacts]
    if is_local(host):  # who can reach it sees the files too: experiments made through it and by flows are alike
        command += ["--default-artifact-root", artifacts]
    return Launch("mlflow", address(host, port), command, environment)


def address(host: str, port: int) -> str:
    """Return where a server that listens on this host is reached from this machine."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{reached}:{port}"


def is_local(host: str) -> bool:
    """Tell whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _names(host: str) -> list[str]:
    """Return the names by which a browser may ask for this machine."""
    import psutil

    own = {host, "localhost", socket.gethostname(), socket.getfqdn()}
    for addresses in psutil.net_if_addrs().values():
        own |= {one.address for one in addresses if one.family == socket.AF_INET}
    return sorted(f"[{name}]" if ":" in name else name for name in own)


def asynchronous(database: str) -> str:
    """Return a database's URI with the driver that Prefect needs."""
    scheme, separator, rest = database.partition("://")
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    return f"{driver.get(scheme, scheme)}{separator}{rest}"
