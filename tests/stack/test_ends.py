"""How servers end: by a signal, by themselves, or killed."""

from __future__ import annotations

import json
import signal
import subprocess

import psutil
import pytest

from flowml.stack import ports
from tests.stack.conftest import SECONDS, Project, urls, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(900)]


def foreground(place: Project) -> tuple[subprocess.Popen[str], str]:
    """Start both servers in the foreground, and wait until it says that they run."""
    process = place.popen("-m", "flowml.cli.app", "up")
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if "until Ctrl-C" in line:
            return process, said
    pytest.fail(f"{said}\n{process.communicate()[1]}")


def leader(place: Project, name: str) -> psutil.Process:
    """Return the process of one of the servers."""
    told = json.loads((place.folder / ".flowml" / "stack.json").read_text())
    return psutil.Process(told[name]["process"]["pid"])


def nothing_is_left(place: Project, said: str) -> bool:
    """Tell whether all processes are gone and all ports free."""
    free = [ports.is_free("127.0.0.1", int(url.rpartition(":")[2])) for url in urls(said)]
    return all(free) and place.processes() == [] and not (place.folder / ".flowml" / "stack.json").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_both(place: Project, number: signal.Signals) -> None:
    """Ctrl-C and a polite kill stop the servers and their children; what an old stack.json said does not matter."""
    stale = {"pid": 1, "started": "before the machine was started again"}
    servers = {name: {"name": name, "url": "http://x", "process": stale, "log": "x"} for name in ("prefect", "mlflow")}
    rest = {"id": "old", "database": "", "artifacts": "", "host": "127.0.0.1", "ready": True}
    (place.folder / ".flowml").mkdir()
    (place.folder / ".flowml" / "stack.json").write_text(json.dumps({**servers, **rest}))
    process, said = foreground(place)
    process.send_signal(number)
    _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, "")
    assert nothing_is_left(place, said)


def test_a_signal_while_they_start_ends_both(place: Project) -> None:
    """Ctrl-C before they answer leaves nothing either."""
    process = place.popen("-m", "flowml.cli.app", "up")
    wait_until((place.folder / ".flowml" / "logs" / "prefect.log").exists, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, "")
    assert place.processes() == []


def test_a_server_that_dies_is_named(place: Project) -> None:
    """In the foreground, the end of its log is shown and the other is stopped."""
    process, said = foreground(place)
    leader(place, "mlflow").kill()
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "The mlflow server at http://127.0.0.1" in errors
    assert "has died" in errors
    assert "mlflow.log" in errors
    assert nothing_is_left(place, said)


def test_down_after_one_was_killed(place: Project) -> None:
    """Its children are ended too; before that, ``status`` and ``up`` name it."""
    started = place.flowml("up", "--detach")
    leader(place, "mlflow").kill()
    told = place.flowml("status")
    assert told.returncode == 1
    assert "mlflow   dead" in told.stdout
    again = place.flowml("up", "--detach")
    assert again.returncode == 1
    assert "The mlflow server" in again.stderr
    assert "flowml down" in again.stderr
    assert place.flowml("down").returncode == 0
    assert nothing_is_left(place, started.stdout)


def test_down_ends_the_foreground_too(place: Project) -> None:
    """It says who stopped the servers, and ends with 0."""
    process, said = foreground(place)
    assert place.flowml("down").returncode == 0
    rest, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, "")
    assert "Stopped by `flowml down`" in rest
    assert nothing_is_left(place, said)


def test_a_database_that_does_not_answer_is_named(place: Project) -> None:
    """It ends with 2, says so without the password, and starts nothing."""
    refused = place.flowml("up", "--prefect-db", "postgresql://nobody:hunter2@127.0.0.1:1/none")
    assert refused.returncode == 2
    assert "Prefect's database at 127.0.0.1:1 does not answer" in refused.stderr
    assert "hunter2" not in refused.stderr
    assert place.processes() == []
