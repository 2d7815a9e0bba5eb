"""How the servers are started."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowml.stack import servers


def test_no_password_is_in_a_command_line() -> None:
    """Everybody on the machine can read command lines."""
    database = "postgresql://runs:hunter2@db/flows"
    for launch in (
        servers.prefect("127.0.0.1", 4200, database=database, home=Path("home")),
        servers.mlflow("127.0.0.1", 5000, database=database, artifacts="file:///files"),
    ):
        assert "hunter2" not in " ".join(launch.command)
        assert any("hunter2" in value for value in launch.environment.values())


def test_the_user_s_clients_do_not_steer_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses and profiles that are meant for flows do not reach the servers, and both report to nobody."""
    for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.setenv(name, "elsewhere")
    prefect = servers.prefect("127.0.0.1", 4201, database="sqlite:////p.db", home=Path("home"))
    mlflow = servers.mlflow("127.0.0.1", 5001, database="sqlite:////m.db", artifacts="file:///files")
    assert "elsewhere" not in {*prefect.environment.values(), *mlflow.environment.values()}
    assert prefect.environment["PREFECT_API_URL"] == "http://127.0.0.1:4201/api"
    assert prefect.environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == "sqlite+aiosqlite:////p.db"
    assert prefect.environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert mlflow.environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


@pytest.mark.parametrize(
    "host,reached",
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("localhost", "http://localhost:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("10.1.2.3", "http://10.1.2.3:80"),
    ],
)
def test_where_a_host_is_reached(host: str, reached: str) -> None:
    """An address that stands for all of the machine's is reached at its own."""
    assert servers.address(host, 80) == reached


@pytest.mark.parametrize("host,local", [("localhost", True), ("::1", True), ("0.0.0.0", False), ("10.1.2.3", False)])
def test_artifacts_go_through_a_server_that_others_reach(host: str, *, local: bool) -> None:
    """Other machines do not see this one's folder; a server for this machine alone gives out the folder itself."""
    launch = servers.mlflow(host, 5000, database="sqlite:////m.db", artifacts="file:///files")
    assert servers.is_local(host) is local
    assert ("--default-artifact-root" in launch.command) is local
    assert ("MLFLOW_SERVER_ALLOWED_HOSTS" not in launch.environment) is local
