"""What ``flowml up`` and its companions refuse, before anything is started."""

from __future__ import annotations

import re
import socket
import sys

import pytest

from flowml.errors import SettingsError
from flowml.ops.servers import options
from tests.stack.conftest import Project

pytestmark = pytest.mark.e2e


def test_a_port_that_was_asked_for_and_is_taken(place: Project) -> None:
    """It ends with 2 and names the port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        refused = place.flowml("up", "--mlflow-port", str(port))
    assert refused.returncode == 2
    assert f"Port {port} of 127.0.0.1 cannot be had for the mlflow server" in refused.stderr
    assert place.processes() == []


def test_a_folder_that_cannot_be_written(place: Project) -> None:
    """It ends with 2 and names the folder."""
    (place.folder / ".flowml").touch()
    refused = place.flowml("up")
    assert refused.returncode == 2
    assert f"The folder {place.folder}/.flowml cannot be written" in refused.stderr


def test_a_database_without_its_driver(place: Project) -> None:
    """It ends with 2 and says what to install."""
    refused = place.flowml("up", "--mlflow-db", "mysql://runs:hunter2@127.0.0.1:1/flows")
    assert refused.returncode == 2
    assert "pip install mysqlclient" in refused.stderr
    assert "hunter2" not in refused.stderr


@pytest.mark.parametrize("driver, package", [("psycopg2", "psycopg2-binary"), ("psycopg", "'psycopg[binary]'")])
def test_a_driver_of_postgresql(monkeypatch: pytest.MonkeyPatch, driver: str, package: str) -> None:
    """The package is named that has all the driver needs."""
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(SettingsError, match=re.escape(f"Install it: pip install {package}")):
        options.check(f"postgresql+{driver}://db/flows", "MLflow", "mlflow_db")


@pytest.mark.parametrize("option", ["--mlflow-db", "--prefect-db"])
def test_a_database_that_does_not_answer(place: Project, option: str) -> None:
    """It ends with 2 and says where nothing listens; neither server is started."""
    refused = place.flowml("up", option, "postgresql://runs:hunter2@127.0.0.1:1/flows")
    assert refused.returncode == 2
    assert "127.0.0.1:1 does not answer" in refused.stderr
    assert "hunter2" not in refused.stderr
    assert place.processes() == []


@pytest.mark.slow
def test_a_file_that_is_no_database(place: Project) -> None:
    """It ends with 2 and names the file, and the server that had begun to start is ended."""
    (place.folder / "notes.txt").write_text("no database\n" * 100)
    refused = place.flowml("up", "--mlflow-db", "notes.txt")
    assert refused.returncode == 2, refused.stderr
    assert "notes.txt" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert place.processes() == []


def test_where_nothing_runs(place: Project) -> None:
    """``status`` ends with 1, ``logs`` with 2, ``down`` with 0, and each says that nothing runs."""
    for arguments, code in ((["status"], 1), (["status", "--json"], 1), (["logs"], 2), (["down"], 0)):
        done = place.flowml(*arguments)
        assert done.returncode == code
        assert "servers of this project run" in done.stdout + done.stderr or '"running": false' in done.stdout
