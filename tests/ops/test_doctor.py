"""``flowml doctor``: each check where there is trouble, and where there is none."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import prefect
import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_dask import DaskTaskRunner
from tests.ops.conftest import Said

from flowml import flow, settings
from flowml.ops.doctor import databases, disks, environment, leftovers, reach, runners, versions
from flowml.ops.doctor.checks import CHECKS, examine
from flowml.ops.doctor.findings import Finding, Setup
from flowml.process import TAG
from flowml.store.backend import in_force


def setup_here(api: str | None = None) -> Setup:
    """Say what is examined: the project's store, and the Prefect of the tests unless another is named."""
    return Setup(api or PREFECT_API_URL.value(), in_force.tracking_uri())


def only(check: Callable[[Setup], Iterator[Finding]], at: Setup | None = None) -> Finding:
    """Give the one finding of a check."""
    (found,) = check(at or setup_here())
    return found


@contextmanager
def serving(status: int = 200, ahead: float = 0.0) -> Iterator[str]:
    """Serve the same answer to everything, with a clock that may be wrong."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            healthy = self.path.endswith("/health")
            self.send_response(200 if healthy else status)
            self.end_headers()
            self.wfile.write(b"true" if healthy else b'{"detail": "min_items"}')

        do_POST = do_GET  # noqa: N815 - the server calls it so

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate((timestamp or time.time()) + ahead, usegmt=True)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def closed_port() -> int:
    """Find a port where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_versions_that_go_together(project: Path) -> None:
    """What is installed here is fine."""
    found = only(versions.versions)
    assert (found.severity, "prefect 3." in found.message) == ("ok", True)


@pytest.mark.parametrize(
    "installed, says",
    [
        (
            {"fastapi": "0.155.0", "prefect": "3.8.8", "sqlalchemy": "2.0.58"},
            "prefect 3.8.8 does not go with fastapi 0.155.0: Prefect's server answers 422",
        ),
        (
            {"sqlalchemy": "2.1.9", "prefect": "3.8.0", "fastapi": "0.150.0"},
            "prefect 3.8.0 does not go with sqlalchemy 2.1.9: the scheduler of Prefect's server fails",
        ),
        ({"cyclopts": "1.0"}, "flowml needs cyclopts>=3; 1.0 is installed"),
    ],
)
def test_versions_that_do_not(
    project: Path, monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], says: str
) -> None:
    """A pair that is known to fail, and a requirement that is not met, are errors with the command that mends them."""
    monkeypatch.syspath_prepend(str(pretended(project / "installed", installed)))
    found = only(versions.versions)
    assert found.severity == "error"
    assert says in found.message
    assert found.remedy.startswith(f"pip install '{next(iter(installed))}")


def test_private_names(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That all are there is one line; of one that is gone it is said what is lost."""
    found = only(versions.private_names)
    assert (found.severity, "private names that flowml uses" in found.message) == ("ok", True)
    monkeypatch.delattr("mlflow.utils.validation._validate_param")
    assert only(versions.private_names).severity == "ok"  # its source has it: nothing is imported to look closer
    lacking = project / "installed" / "mlflow" / "utils"
    lacking.mkdir(parents=True)
    for file in (lacking.parent / "__init__.py", lacking / "__init__.py", lacking / "validation.py"):
        file.touch()
    monkeypatch.syspath_prepend(str(project / "installed"))
    gone = next(iter(versions.private_names(setup_here())))
    assert gone.severity == "warning"
    assert "mlflow.utils.validation._validate_param: it is refused when the flow ends" in gone.message


def test_versions_that_go_together_from_prefect_3_9_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only Prefect 3.8 fails with is not refused with a later one."""
    installed = {"prefect": "3.9.0", "sqlalchemy": "2.1.9", "fastapi": "0.150.0"}
    monkeypatch.syspath_prepend(str(pretended(project / "installed", installed)))
    assert not [pair for pair in versions.PAIRS if versions._is_bad(pair)]


def pretended(folder: Path, installed: dict[str, str]) -> Path:
    """Make a folder that says of packages that they are installed, in these versions."""
    for name, version in installed.items():
        about = folder / f"{name}-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder


def test_bytecode(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that is not compiled is named, for each process compiles then what it imports."""
    for name in ("mlflow", "prefect"):
        (project / "installed" / name).mkdir(parents=True)
        (project / "installed" / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(project / "installed"))
    assert compileall.compile_dir(project / "installed", quiet=1)
    assert only(environment.compiled).severity == "ok"
    shutil.rmtree(project / "installed" / "prefect" / "__pycache__")
    found = only(environment.compiled)
    assert (found.severity, found.message.partition(". ")[0]) == ("warning", "Not compiled: prefect")
    assert f"{sys.executable} -m compileall" in found.remedy


def test_a_run_id_in_the_environment(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, for MLflow would resume that run."""
    assert only(environment.run_id).severity == "ok"
    monkeypatch.setenv("MLFLOW_RUN_ID", "f3c1")
    found = only(environment.run_id)
    assert (found.severity, found.remedy) == ("warning", "unset MLFLOW_RUN_ID")
    assert "'f3c1'" in found.message


def test_autologging_for_the_whole_process(project: Path) -> None:
    """It is found by the library that it is on for."""
    assert only(environment.autologging).severity == "ok"
    mlflow.sklearn.autolog()
    try:
        found = only(environment.autologging)
        assert (found.severity, "(sklearn)" in found.message) == ("warning", True)
    finally:
        mlflow.sklearn.autolog(disable=True)
    assert only(environment.autologging).severity == "ok"


def test_a_file_store(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain folder is refused by MLflow, and so here."""
    assert only(environment.file_store).severity == "ok"
    for uri in ("./mlruns", "file:///somewhere/mlruns"):
        monkeypatch.setenv("FLOWML_TRACKING_URI", uri)
        settings.reload()
        found = only(environment.file_store)
        assert (found.severity, uri in found.message) == ("error", True)
        assert "mlflow migrate-filestore" in found.remedy


@pytest.mark.usefixtures("client")
def test_prefects_api() -> None:
    """It is reached, or not, or it answers as the wrong fastapi makes it answer."""
    assert only(reach.prefect_api).severity == "ok"
    found = only(reach.prefect_api, setup_here(f"http://127.0.0.1:{closed_port()}/api"))
    assert (found.severity, "cannot be reached" in found.message) == ("error", True)
    with serving(status=422) as url, temporary_settings({PREFECT_API_URL: f"{url}/api"}):
        found = only(reach.prefect_api)
    assert (found.severity, "422" in found.message) == ("error", True)
    found = only(reach.prefect_api, Setup(None, in_force.tracking_uri()))
    assert (found.severity, found.remedy.startswith("flowml up")) == ("warning", True)


LOOK = """
import json, sys
from flowml.ops import prefect_address
from flowml.ops.doctor.reach import prefect_problem
api = prefect_address.known()
print(json.dumps([api, prefect_problem(api) if api else None, "prefect" in sys.modules]))
"""


def looked_at(folder: Path, **variables: str) -> tuple[str | None, str | None, bool]:
    """Ask a process of its own which API it uses, what is wrong with it, and whether it imported Prefect to tell."""
    told = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    told |= {"HOME": str(folder), "DO_NOT_TRACK": "true", **variables}
    command = [sys.executable, "-c", LOOK]
    done = subprocess.run(command, cwd=folder, env=told, capture_output=True, text=True, check=True)
    api, problem, loaded = json.loads(done.stdout.splitlines()[-1])
    return api, problem, loaded


@pytest.mark.usefixtures("client")
def test_prefects_api_without_prefect(tmp_path: Path) -> None:
    """Where only the environment names it, its API is asked without importing Prefect, and the same is found."""
    real = str(PREFECT_API_URL.value())
    assert looked_at(tmp_path) == (None, None, False)
    assert looked_at(tmp_path, PREFECT_API_URL=real) == (real, None, False)
    with serving(status=422) as url:
        _, problem, loaded = looked_at(tmp_path, PREFECT_API_URL=f"{url}/api")
    assert ("refused what it was asked: HTTP Error 422" in str(problem), loaded) == (True, False)
    closed = f"http://127.0.0.1:{closed_port()}/api"
    _, problem, loaded = looked_at(tmp_path, PREFECT_API_URL=closed)
    assert ("cannot be reached" in str(problem), loaded) == (True, False)


@pytest.mark.usefixtures("client")
def test_what_only_prefect_can_tell_is_left_to_it(tmp_path: Path) -> None:
    """A profile, a file of settings, a key: Prefect reads its own."""
    real = str(PREFECT_API_URL.value())
    assert looked_at(tmp_path, PREFECT_API_URL=real, PREFECT_API_AUTH_STRING="ada:pw") == (real, None, True)
    (tmp_path / "prefect.toml").write_text(f'[api]\nurl = "{real}"\n')
    assert looked_at(tmp_path) == (real, None, True)
    (tmp_path / "prefect.toml").unlink()
    (tmp_path / ".prefect").mkdir(exist_ok=True)
    (tmp_path / ".prefect" / "profiles.toml").write_text(
        f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{real}"\n'
    )
    assert looked_at(tmp_path) == (real, None, True)


@pytest.mark.usefixtures("client")
def test_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers, or its server does not; a password is not shown."""
    assert only(reach.mlflow).severity == "ok"
    monkeypatch.setenv("FLOWML_TRACKING_URI", f"http://ada:s3cret@127.0.0.1:{closed_port()}")
    settings.reload()
    found = only(reach.mlflow)
    assert found.severity == "error"
    assert "Start the server" in found.message
    assert "s3cret" not in found.message


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.usefixtures("client")
@pytest.mark.timeout(300)
def test_from_inside_a_worker() -> None:
    """A process of a real task runner reaches both; where MLflow is not to be reached from there, that is said."""
    at = setup_here()
    assert [(one.severity, one.message) for one in runners.task_runner(at)] == [
        ("ok", "Prefect is reached from inside ProcessPoolTaskRunner"),
        ("ok", "MLflow is reached from inside ProcessPoolTaskRunner"),
    ]
    lost = Setup(at.api, f"http://127.0.0.1:{closed_port()}")
    prefects, mlflows = runners.task_runner(lost)
    assert (prefects.severity, mlflows.severity) == ("ok", "error")
    assert mlflows.message.startswith("From inside ProcessPoolTaskRunner: MLflow at http://127.0.0.1:")
    (alone,) = runners.task_runner(Setup(None, at.uri))
    assert alone.message == "MLflow is reached from inside a worker process"


@pytest.mark.usefixtures("client")
def test_a_task_runner_that_does_not_start() -> None:
    """A flow's own task runner is what is asked; a cluster that is not there is an error."""

    @flow(task_runner=DaskTaskRunner(address=f"tcp://127.0.0.1:{closed_port()}", client_kwargs={"timeout": "1s"}))
    def clustered() -> None: ...

    at = setup_here()
    (found,) = runners.task_runner(Setup(at.api, at.uri, clustered))
    assert found.severity == "error"
    assert "No task runs under DaskTaskRunner" in found.message


def test_one_sqlite_file_for_many(client: MlflowClient) -> None:
    """A few processes of one host are fine; many are slow, and on several machines it breaks."""
    assert only(databases.sqlite).severity == "ok"
    told = {"host": "one", "machine": "m", "started": "then"}
    for pid in range(5):
        client.create_run("0", tags={TAG: json.dumps({**told, "pid": pid})})
    found = only(databases.sqlite)
    assert (found.severity, found.message.startswith("5 processes write")) == ("warning", True)
    client.create_run("0", tags={TAG: json.dumps({**told, "host": "two", "pid": 1})})
    found = next(iter(databases.sqlite(setup_here())))
    assert (found.severity, "(one, two)" in found.message) == ("warning", True)


def test_a_sqlite_file_without_a_log(project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that MLflow itself made keeps none, and readers wait for writers."""
    plain = project / "plain.db"
    with closing(sqlite3.connect(project / ".flowml" / "mlflow.db")) as here, closing(sqlite3.connect(plain)) as there:
        here.backup(there)
        there.execute("PRAGMA journal_mode=DELETE")
    monkeypatch.setenv("FLOWML_TRACKING_URI", f"sqlite:///{plain}")
    settings.reload()
    found = only(databases.sqlite)
    assert (found.severity, "journal_mode=delete" in found.message) == ("warning", True)


@pytest.mark.parametrize("ahead, severity", [(0, "ok"), (-20, "warning"), (7200, "error")])
def test_a_clock_that_is_wrong(project: Path, ahead: float, severity: str) -> None:
    """A server whose clock is some seconds away is a warning, a minute or more an error."""
    with serving(ahead=ahead) as url:
        found = only(reach.clocks, Setup(f"{url}/api", in_force.tracking_uri()))
    assert found.severity == severity
    assert ahead == 0 or ("20 s behind" if ahead < 0 else "7200 s ahead") in found.message


def test_a_full_disk(project: Path) -> None:
    """Where fewer bytes are free than are wanted, it is a warning, then an error."""
    everything = 2**70
    assert {one.severity for one in disks.disk(setup_here(), little=0, none=0)} == {"ok"}
    assert {one.severity for one in disks.disk(setup_here(), little=everything, none=0)} == {"warning"}
    assert {one.severity for one in disks.disk(setup_here(), little=everything, none=everything)} == {"error"}


def test_files_that_wait(project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was left an hour ago is named; what is on its way is not."""
    monkeypatch.setattr(tempfile, "tempdir", str(project))
    assert only(leftovers.records).message == "Nothing waits to be sent"
    folder = project / "flowml-abcd_123"
    folder.mkdir()
    (folder / "figure.png").write_bytes(bytes(2**20))
    assert only(leftovers.records) == Finding("ok", "1.0 MiB of files wait to be sent")
    for path in (folder / "figure.png", folder):
        os.utime(path, (0, 0))
    found = only(leftovers.records)
    assert (found.severity, str(folder) in found.message) == ("warning", True)


def test_records_that_were_lost(project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs say that they lost is counted."""
    monkeypatch.setattr(tempfile, "tempdir", str(project))
    tags = {"flowml.kind": "flow", "flowml.tracking_error": '["full", "gone"]'}
    above = client.create_run("0", run_name="lacking", tags=tags).info.run_id
    client.create_run("0", run_name="below", tags={**tags, "mlflow.parentRunId": above})  # the one above repeats it
    found = only(leftovers.records)
    assert (found.severity, "2 losses in 1 of the last 500 runs: lacking; " in found.message) == ("warning", True)


def test_runs_that_were_left_open(client: MlflowClient) -> None:
    """An open run whose process has ended is to be reaped; one whose process lives is not."""
    told = "import json; from flowml import process; print(json.dumps(dict(process.tags())))"
    said = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout
    assert only(leftovers.open_runs).severity == "ok"
    client.create_run("0", run_name="lost", tags=json.loads(said))
    found = only(leftovers.open_runs)
    assert (found.severity, found.remedy) == ("warning", "flowml reap")
    assert "1 runs are open while their process is gone: lost" in found.message


def test_settings_that_cannot_be(project: Path, flowml: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the one thing that is said; it ends with 1."""
    monkeypatch.setenv("FLOWML_TIMEOUT", "-1")
    said = flowml("doctor", "--json")
    told = json.loads(said.out)
    assert (said.code, told["errors"]) == (1, 1)
    assert [one["check"] for one in told["findings"]] == ["settings"]


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.usefixtures("client")
@pytest.mark.timeout(300)
def test_all_of_it(flowml: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check says something; without an error it ends with 0, with one it ends with 1."""
    said = flowml("doctor", "--workers")
    lines = [line.split("\t") for line in said.out.splitlines()]
    assert said.code == 0, said.out
    assert list(dict.fromkeys(line[1] for line in lines[:-1])) == list(CHECKS)
    assert lines[-1][0].startswith("0 errors, ")
    monkeypatch.setenv("FLOWML_TRACKING_URI", "./mlruns")
    said = flowml("doctor")
    assert said.code == 1
    assert "error\tfile store\t" in said.out


def test_a_check_that_stumbles_stops_no_other(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be found out is said, and the next check is made."""

    def stumbles(_: Setup) -> Iterator[Finding]:
        raise RuntimeError("no [luck]")

    monkeypatch.setattr("flowml.ops.doctor.checks.CHECKS", {"one": stumbles, "run id": environment.run_id})
    one, two = examine(prefect.flow(lambda: None, name="any"))
    assert (one.severity, one.message) == ("warning", "This could not be found out: RuntimeError: no [luck]")
    assert (two.check, two.severity) == ("run id", "ok")
