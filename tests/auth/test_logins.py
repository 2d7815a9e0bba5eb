"""Servers that ask for a login, behind TLS with a certificate of a private authority: real ones, and real programs."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tests.auth.conftest import AUTH_STRING, PASSWORD, TOKEN, USER, Servers

pytestmark = pytest.mark.e2e

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WRONG = "wr0ng-h0rse"
SECRETS = [PASSWORD, quote(PASSWORD, safe=""), TOKEN, AUTH_STRING, AUTH_STRING.partition(":")[2], WRONG]
SECRETS += [base64.b64encode(login.encode()).decode() for login in (f"{USER}:{PASSWORD}", AUTH_STRING)]
BASIC = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}


def environment(servers: Servers, folder: Path, **more: str) -> dict[str, str]:
    """Return what a process needs to know to be let in by Prefect, and to trust both servers."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PREFECT_", "FLOWML_"))
    }
    (folder / "pyproject.toml").touch()
    return {
        **kept,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"https://{servers.prefect}/api",
        "PREFECT_API_AUTH_STRING": AUTH_STRING,
        "PREFECT_API_SSL_CERT_FILE": str(servers.authority),
        "MLFLOW_TRACKING_URI": f"https://{servers.mlflow}",
        "MLFLOW_TRACKING_SERVER_CERT_PATH": str(servers.authority),
        "FLOWML_TIMEOUT": "2",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
        **{name: value.format(**vars(servers)) for name, value in more.items()},
    }


def said(words: list[str], folder: Path, told: Mapping[str, str]) -> tuple[int, str]:
    """Run a program; return how it ended and all that it said, in which there is no secret."""
    line = [sys.executable, *words]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(line, check=False, env=dict(told), cwd=folder, timeout=100, **output)
    assert_no_secret_in(done.stdout)
    return done.returncode, done.stdout


def assert_no_secret_in(text: str) -> None:
    """Look for all of them."""
    assert not [secret for secret in SECRETS if secret in text]


def command(*words: str) -> list[str]:
    """Return flowml's command."""
    return ["-m", "flowml.cli.app", *words]


def program(name: str) -> list[str]:
    """Return the program, with the name of its flow."""
    return [str(HERE / "program.py"), name]


def of_flowml(output: str) -> list[str]:
    """Return the lines that are warnings or errors, or flowml's."""
    return [line for line in output.splitlines() if "WARNING" in line or "ERROR" in line or "flowml: " in line]


def runs_of(servers: Servers, name: str) -> tuple[MlflowClient, list[Run]]:
    """Return what MLflow has of a flow, asked without TLS."""
    client = MlflowClient(f"http://{servers.plain}")
    experiment = client.get_experiment_by_name(name)
    return client, list(client.search_runs([experiment.experiment_id])) if experiment else []


def of_prefect(servers: Servers, path: str) -> Any:
    """Ask Prefect's server for all of something, without TLS."""
    login = base64.b64encode(AUTH_STRING.encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
    asked = urllib.request.Request(f"http://{servers.plain_prefect}/api/{path}/filter", b"{}", headers)
    with urllib.request.urlopen(asked, timeout=20) as answer:
        return json.load(answer)


# What the environment says for each way to log in, by the addresses of `Servers`.
WAYS = {
    "login": BASIC,
    "address": {"MLFLOW_TRACKING_URI": f"https://{USER}:{quote(PASSWORD, safe='')}@{{mlflow}}"},
    "token": {"MLFLOW_TRACKING_URI": "https://{tokens}", "MLFLOW_TRACKING_TOKEN": TOKEN},
}


@pytest.mark.parametrize(
    "way", ["login", *(pytest.param(name, marks=pytest.mark.slow) for name in ("token", "address"))]
)
def test_a_flow_is_tracked_by_servers_that_ask_for_a_login(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """All of it is in MLflow, and linked in Prefect; no password is in either, in what was said, or on the disk."""
    _, output = said(program(way), tmp_path, environment(servers, tmp_path, **WAYS[way]))
    assert "The flow is done" in output
    assert [line for line in of_flowml(output) if "flowml: in MLflow at" not in line] == []
    for name, value in BASIC.items():
        monkeypatch.setenv(name, value)
    client, runs = runs_of(servers, way)
    by_name = {run.data.tags.get("prefect.task_name", "flow"): run for run in runs}
    assert {name: run.info.status for name, run in by_name.items()} == dict.fromkeys(
        ("flow", "train", "score", "report"), "FINISHED"
    )
    assert by_name["score"].data.metrics == pytest.approx({"at_three": 6.0})
    assert [file.path for file in client.list_artifacts(by_name["report"].info.run_id)] == ["report.md"]
    [model] = client.search_logged_models([by_name["train"].info.experiment_id])
    flow_run_id = by_name["flow"].data.tags["prefect.flow_run_id"]
    artifacts = [each for each in of_prefect(servers, "artifacts") if each["flow_run_id"] == flow_run_id]
    assert {each["key"] for each in artifacts} >= {"mlflow-run", "mlflow-summary"}
    kept = [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    flow_runs = of_prefect(servers, "flow_runs"), of_prefect(servers, "logs")
    assert_no_secret_in("\n".join([output, str([run.to_dictionary() for run in runs]), str(model), *kept]))
    assert_no_secret_in(str([artifacts, *flow_runs]))


REFUSED = {
    "login": ({**BASIC, "MLFLOW_TRACKING_PASSWORD": WRONG}, "does not accept this login. Set MLFLOW_TRACKING_USERNAME"),
    "certificate": (
        {**BASIC, "MLFLOW_TRACKING_SERVER_CERT_PATH": "{another}"},
        "is not trusted here. Set MLFLOW_TRACKING_SERVER_CERT_PATH",
    ),
    "no-login": ({}, "does not accept this login. Set MLFLOW_TRACKING_USERNAME"),
    "token": (
        {"MLFLOW_TRACKING_URI": "https://{tokens}", "MLFLOW_TRACKING_TOKEN": WRONG},
        "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
    ),
}
QUICK = ("login",)
SOME = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in REFUSED]


@pytest.mark.parametrize("wrong", SOME)
def test_an_mlflow_that_lets_nobody_in_is_told_once(servers: Servers, tmp_path: Path, wrong: str) -> None:
    """The flow runs; one line says what to do, and what was logged waits until the credentials are right."""
    values, remedy = REFUSED[wrong]
    code, output = said(program(f"refused-{wrong}"), tmp_path, environment(servers, tmp_path, **values))
    assert code == 0
    assert "The flow is done" in output
    [line] = of_flowml(output)
    assert remedy in line
    assert "4 runs wait on this disk" in line
    assert "Traceback" not in output
    if wrong == "login":
        assert "4 runs sent" in said(command("sync"), tmp_path, environment(servers, tmp_path, **BASIC))[1]


@pytest.mark.parametrize(
    "more,remedy",
    [
        ({"PREFECT_API_AUTH_STRING": f"ada:{WRONG}"}, "does not accept this login. Set PREFECT_API_AUTH_STRING"),
        pytest.param(
            {"PREFECT_API_SSL_CERT_FILE": "{another}"},
            "is not trusted here. Set PREFECT_API_SSL_CERT_FILE",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_prefect_that_lets_nobody_in_says_so(
    servers: Servers, tmp_path: Path, more: dict[str, str], remedy: str
) -> None:
    """Prefect runs no flow then, and ends with its own error; flowml adds the line that says what to do."""
    code, output = said(program("closed"), tmp_path, environment(servers, tmp_path, **BASIC, **more))
    assert code != 0
    assert "The flow is done" not in output
    [line] = of_flowml(output)
    assert remedy in line


def test_runs_are_read_with_a_login(servers: Servers, tmp_path: Path) -> None:
    """`flowml runs` lists them, and says what to do where it is not let in."""
    said(program("listed"), tmp_path, environment(servers, tmp_path, **BASIC))
    code, output = said(command("runs"), tmp_path, environment(servers, tmp_path, **BASIC))
    assert (code, "listed" in output) == (0, True)
    wrong = environment(servers, tmp_path, **{**BASIC, "MLFLOW_TRACKING_PASSWORD": WRONG})
    code, output = said(command("runs"), tmp_path, wrong)
    assert code != 0
    assert "does not accept this login" in output


@pytest.mark.slow
def test_doctor_says_which_server_lets_nobody_in(servers: Servers, tmp_path: Path) -> None:
    """Both answer with the right logins; with wrong ones each finding says what to set."""
    code, output = said(command("doctor"), tmp_path, environment(servers, tmp_path, **BASIC))
    assert code == 0
    assert f"MLflow answers at https://{servers.mlflow}" in output
    assert f"Prefect's API answers at https://{servers.prefect}/api" in output
    wrong = {**BASIC, "MLFLOW_TRACKING_PASSWORD": WRONG, "PREFECT_API_AUTH_STRING": f"ada:{WRONG}"}
    code, output = said(command("doctor"), tmp_path, environment(servers, tmp_path, **wrong))
    assert code != 0
    assert "Set MLFLOW_TRACKING_USERNAME" in output
    assert "Set PREFECT_API_AUTH_STRING" in output
