"""Every command beside ``flowml up``, and with no server at all: all find the same two."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowml.cli import app
from tests.stack.conftest import Project, urls

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

FLOW = """
from flowml import Cron, Deployment, flow

@flow(flow_run_name="trained-on-{n}")
def training(n: int = 1) -> dict[str, float]:
    return {"accuracy": n / 4}

nightly = Deployment(training, "nightly", schedule=Cron("0 2 * * *"))
"""

SECRET = "a secret of the right length, 1234"
TEMPORARY = "temporary server"  # what Prefect says where it was given none

# In order: later ones need what earlier ones made. With each the code it ends with, and a part of what it says.
BESIDE: dict[str, tuple[list[str], int, str]] = {
    "up": (["up", "--detach"], 0, "{prefect}"),
    "status": (["status"], 0, "{prefect}"),
    "logs": (["logs", "--lines", "3"], 0, "prefect.log"),
    "run": (["run", "train.py:training", "-p", "n=1"], 0, "{prefect}/runs/flow-run/"),
    "run again": (["run", "train.py:training", "-p", "n=2"], 0, "Completed"),
    "runs": (["runs"], 0, "{mlflow}"),
    "show": (["show", "trained-on-1"], 0, "{prefect}/runs/flow-run/"),
    "open": (["open", "trained-on-1"], 0, "{mlflow}"),
    "compare": (["compare", "trained-on-1", "trained-on-2"], 0, "accuracy"),
    "doctor": (["doctor"], 0, "{prefect}/api"),
    "reap": (["reap"], 0, "0 closed"),
    "sync": (["sync"], 0, "No journal waits"),
    "promote": (["promote", "churn", "1"], 2, "no registered model 'churn'"),
    **{name: ([name, "churn"], 2, "no registered model 'churn'") for name in ("rollback", "history")},
    "serve-model": (["serve-model", "churn@champion"], 2, "no registered model 'churn'"),
    "audit": (["audit", "churn@champion"], 2, "no registered model 'churn'"),
    "tune": (["tune", "show", "churn"], 2, "There is no study 'churn' in this project"),
    "approve": (["approve", "trained-on-1", "--why", "good"], 2, "it is Completed"),
    "reproduce": (["reproduce", "trained-on-1"], 2, "no git repository"),
    "export-mlproject": (["export-mlproject", "train.py:training"], 0, "mlflow run"),
    "delete": (["delete", "trained-on-1", "--yes"], 0, "1 runs deleted"),
    "restore": (["restore", "trained-on-1"], 0, "1 runs restored"),
    "deploy": (["deploy", "train.py:training", "--work-pool", "here"], 0, "training/nightly"),
    "deployments": (["deployments"], 0, "training/nightly\t"),
    "trigger": (["trigger", "training/nightly"], 0, "{prefect}/runs/flow-run/"),
    "pause": (["pause", "nightly"], 0, "training/nightly is paused"),
    "resume": (["resume", "nightly"], 0, "training/nightly runs again"),
    "backfill": (
        ["backfill", "nightly", "--from", "2026-01-01", "--to", "2026-01-02", "--dry-run"],
        0,
        "2 scheduled times",
    ),
}
STAYING = {
    "serve": (["serve", "train.py:training"], "They run from this process"),
    "watch-files": (["watch-files"], "{prefect}/api"),
    "webhooks": (["webhooks", "--port", "0"], "{prefect}/api"),
}
LAST = {"down": (["down"], 0, "Stopped: ")}

NOTHING = {
    "status": (["status"], 1, "flowml up"),
    "logs": (["logs"], 2, "flowml up"),
    "down": (["down"], 0, "No servers of this project run"),
    **{name: ([name], 2, "Run a flow first") for name in ("runs",)},
    **{name: ([name, "training"], 2, "Run a flow first") for name in ("show", "open", "delete", "restore")},
    "compare": (["compare", "one", "other"], 2, "Run a flow first"),
    "promote": (["promote", "churn", "1"], 2, "Run a flow first"),
    **{name: ([name, "churn"], 2, "Run a flow first") for name in ("rollback", "history", "reproduce")},
    "audit": (["audit", "churn@champion"], 2, "Run a flow first"),
    "serve-model": (["serve-model", "churn@champion"], 2, "Run a flow first"),
    "tune": (["tune", "show", "churn"], 2, "There is no study 'churn' in this project"),
    "approve": (["approve", "trained-on-1", "--why", "good"], 2, "`flowml up`"),
    "export-mlproject": (["export-mlproject", "train.py:training"], 0, "mlflow run"),
    "deploy": (["deploy", "train.py:training", "--work-pool", "here"], 2, "`flowml up`"),
    "serve": (["serve", "train.py:training"], 2, "`flowml up`"),
    "deployments": (["deployments"], 2, "`flowml up`"),
    "trigger": (["trigger", "training/nightly"], 2, "`flowml up`"),
    "pause": (["pause", "nightly"], 2, "`flowml up`"),
    "resume": (["resume", "nightly"], 2, "`flowml up`"),
    "backfill": (["backfill", "nightly", "--from", "2026-01-01", "--to", "2026-01-02"], 2, "`flowml up`"),
    "watch-files": (["watch-files"], 2, "`flowml up`"),
    "webhooks": (["webhooks", "--port", "0"], 2, "`flowml up`"),
    "doctor": (["doctor"], 0, "No Prefect server is configured"),
    "run": (["run", "train.py:training"], 0, "Completed"),
    "reap": (["reap"], 0, "0 closed"),
    "sync": (["sync"], 0, "No journal waits"),
}
STARTS_ONE = {"run", "reap"}  # a temporary server: what they ask of Prefect is of this process alone


@pytest.fixture(scope="module")
def trained(running: tuple[Project, str]) -> tuple[Project, dict[str, str]]:
    """The running servers, a flow in a file, and a pool to deploy it to."""
    project, said = running
    prefect, mlflow = urls(said)
    (project.folder / "train.py").write_text(FLOW)
    body = json.dumps({"name": "here", "type": "process"}).encode()
    request = urllib.request.Request(f"{prefect}/api/work_pools/", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=60).close()
    return project, {"prefect": prefect, "mlflow": mlflow}


def test_all_are_tried() -> None:
    """The lists below hold each command of the program."""
    every = {name for name in app.app if not name.startswith("-")} - {"watch"}
    beside = {name.partition(" ")[0] for name in (*BESIDE, *STAYING, *LAST)}
    assert (every - beside, every - {*NOTHING, "up"}) == (set(), set())


@pytest.mark.slow
@pytest.mark.parametrize("command", BESIDE)
def test_it_finds_the_projects_servers(trained: tuple[Project, dict[str, str]], command: str) -> None:
    """Started from a folder below, with nothing set: it speaks with both, and asks for no server of its own."""
    project, addresses = trained
    words, code, part = BESIDE[command]
    done = project.flowml(*words)
    told = done.stdout + done.stderr
    assert done.returncode == code, told
    assert part.format(**addresses) in told
    assert TEMPORARY not in told


@pytest.mark.slow
@pytest.mark.parametrize("command", STAYING)
def test_what_stays_finds_them_too(trained: tuple[Project, dict[str, str]], command: str) -> None:
    """A command that goes on until Ctrl-C tells which Prefect it is for, or serves from there."""
    project, addresses = trained
    words, part = STAYING[command]
    with project.popen("-u", "-m", "flowml.cli.app", *words, FLOWML_WEBHOOK_SECRET=SECRET) as process:
        assert process.stdout is not None
        said = next((line for line in process.stdout if part.format(**addresses) in line), None)
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert said, err
    assert TEMPORARY not in err


@pytest.mark.slow
def test_and_down_ends_them(trained: tuple[Project, dict[str, str]]) -> None:
    """The last of those beside ``flowml up``."""
    words, code, part = LAST["down"]
    done = trained[0].flowml(*words)
    assert (done.returncode, part in done.stdout) == (code, True)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project without servers or runs."""
    project = Project(tmp_path_factory.mktemp("bare") / "project")
    (project.folder / "train.py").write_text(FLOW)
    yield project
    project.end()


@pytest.mark.parametrize(
    "command", [pytest.param(each, marks=pytest.mark.slow) if each in STARTS_ONE else each for each in NOTHING]
)
def test_without_servers(bare: Project, command: str) -> None:
    """It does what needs none, or says in one line what to start."""
    words, code, part = NOTHING[command]
    done = bare.flowml(*words, FLOWML_WEBHOOK_SECRET=SECRET)
    told = done.stdout + done.stderr
    assert done.returncode == code, told
    assert re.search(re.escape(part), told, re.IGNORECASE), told
    if command not in STARTS_ONE:
        assert TEMPORARY not in told
    if code == 2:
        assert (done.stdout, done.stderr.count("\n")) == ("", 1)
        assert done.stderr.startswith("flowml: ")
    assert not (Path(bare.folder) / ".flowml" / "stack.json").exists()
