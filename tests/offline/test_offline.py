"""What is tracked offline: all of it, without a connection, and it is known where it is meant to be."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from tests.offline.conftest import MEANT
from tests.ops.conftest import Said
from tests.runs import all_runs, run_of

import flowml
from flowml import flow, settings, task
from flowml.ops.doctor import leftovers
from flowml.ops.doctor.findings import Setup
from flowml.store.backend import connection, offline

ELSEWHERE = "http://other.invalid:5000"


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The hosts that this process asks for by name or connects to, but for this machine."""
    found: list[str] = []
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def watched_look_up(host, *args, **kwargs):
        if host not in {None, "127.0.0.1", "localhost", "::1", "0.0.0.0"}:
            found.append(str(host))
        return look_up(host, *args, **kwargs)

    def watched_connect(self, address):
        if self.family != socket.AF_UNIX and address[0] not in {"127.0.0.1", "::1"}:
            found.append(str(address[0]))
        return connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", watched_look_up)
    monkeypatch.setattr(socket.socket, "connect", watched_connect)
    return found


@pytest.fixture
def client(offline_project: Path, prefect_server: None) -> MlflowClient:
    """A client of the offline store."""
    return connection.connect().client


def meant_of(client: MlflowClient, experiment: str) -> dict[str, str]:
    """Return what an experiment says of where its runs are meant to be."""
    tags = client.get_experiment_by_name(experiment).tags
    return {key: value for key, value in tags.items() if key.startswith("flowml.offline.")}


def test_nothing_leaves_the_machine(client: MlflowClient, reached: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain calls, registrations and clients for other addresses go to the offline store, and nobody is asked."""
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", ELSEWHERE)

    @task
    def by_hand() -> None:
        mlflow.set_tracking_uri(ELSEWHERE)
        mlflow.set_registry_uri(ELSEWHERE)
        os.environ["MLFLOW_TRACKING_URI"] = ELSEWHERE
        mlflow.log_metric("score", 1.0)
        with mlflow.start_run(nested=True, run_name="inner"):
            mlflow.log_param("a", 1)
        MlflowClient(ELSEWHERE).create_registered_model("named")
        MlflowClient(registry_uri=ELSEWHERE).create_model_version("named", "file:///somewhere")

    @flow
    def offline_flow() -> None:
        by_hand()

    offline_flow()
    flowml.flush()
    assert run_of(client, "by_hand").data.metrics == {"score": 1.0}
    assert len(all_runs(client)) == 3
    assert client.get_model_version("named", "1").source == "file:///somewhere"
    assert reached == []


def test_it_is_known_where_runs_are_meant_to_be(client: MlflowClient) -> None:
    """What the environment or the first lines of a flow name is noted, without the password."""

    @flow
    def by_environment() -> int:
        return 1

    @flow
    def by_its_first_lines() -> int:
        mlflow.set_tracking_uri("http://ada:love@other.invalid:5000")
        return 1

    by_environment()
    flowml.flush()
    by_its_first_lines()
    flowml.flush()
    assert meant_of(client, "by-environment") == {offline.MEANT: MEANT}
    assert meant_of(client, "by-its-first-lines") == {offline.MEANT: ELSEWHERE}


def test_the_setting_comes_before_mlflows(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings say where runs and registered models are meant to be, as they do online."""
    monkeypatch.setenv("FLOWML_TRACKING_URI", ELSEWHERE)
    monkeypatch.setenv("FLOWML_REGISTRY_URI", "http://registry.invalid")

    @flow
    def by_settings() -> int:
        return 1

    by_settings()
    flowml.flush()
    told = {offline.MEANT: ELSEWHERE, offline.MEANT_REGISTRY: "http://registry.invalid"}
    assert meant_of(client, "by-settings") == told


def test_files_are_kept_beside_the_database(client: MlflowClient, offline_project: Path) -> None:
    """Artifacts are in a folder of their own in the project, also where the setting names a bucket."""

    @flow
    def with_a_file() -> None:
        mlflow.log_text("hello", "hello.txt")

    with_a_file()
    flowml.flush()
    (run,) = all_runs(client)
    assert run.info.artifact_uri.startswith((offline_project / ".flowml" / "offline-artifacts").as_uri())
    assert client.list_artifacts(run.info.run_id)[0].path == "hello.txt"


def test_what_waits_is_told(
    client: MlflowClient, offline_project: Path, flowml: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``flowml status`` and ``flowml doctor`` count the runs that wait, since when, and the bytes of the store."""
    empty = json.loads(flowml("status", "--json").out)["offline"]
    assert (empty["runs"], empty["since"]) == (0, None)

    @flow
    def waits() -> int:
        return 1

    waits()
    (run,) = all_runs(client)
    told = json.loads(flowml("status", "--json").out)["offline"]
    assert (told["runs"], told["store"]) == (1, offline.uri())
    assert told["size"] > (offline_project / ".flowml" / "offline.db").stat().st_size / 2
    assert f"1 runs wait offline since {told['since']}" in flowml("status").out.replace("\n", " ")
    (found,) = leftovers.offline_runs(Setup(None, offline.uri()))
    assert found.severity == "ok"
    monkeypatch.setenv("FLOWML_OFFLINE", "false")
    settings.reload()
    (found,) = leftovers.offline_runs(Setup(None, offline.uri()))
    assert (found.severity, found.remedy) == ("warning", "flowml sync")
    assert run.info.run_id


@pytest.mark.e2e
def test_a_scripts_own_lines_stay_offline(offline_project: Path) -> None:
    """A script that chooses store and experiment by MLflow before its first flow opens no connection either."""
    script = offline_project / "script.py"
    script.write_text(
        "import mlflow, socket\n"
        "from flowml import flow\n"
        f"mlflow.set_tracking_uri({ELSEWHERE!r})\n"
        "mlflow.set_experiment('chosen')\n"
        "with mlflow.start_run():\n"
        "    mlflow.log_metric('before', 1)\n"
        "print(mlflow.get_tracking_uri())\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.splitlines()[-1] == offline.uri()
    client = MlflowClient(offline.uri())
    (run,) = all_runs(client)
    assert run.data.metrics == {"before": 1}


def test_it_can_be_left(client: MlflowClient, offline_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the setting is off again, the same process's runs and registered models go where they are meant to be."""
    monkeypatch.setenv("FLOWML_OFFLINE", "false")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{offline_project}/.flowml/mlflow.db")
    mlflow.set_tracking_uri(None)

    @flow
    def online() -> None:
        mlflow.log_metric("score", 1.0)
        MlflowClient().create_registered_model("there")

    online()
    flowml.flush()
    assert all_runs(client) == []
    there = MlflowClient(f"sqlite:///{offline_project}/.flowml/mlflow.db")
    assert [run.data.metrics for run in all_runs(there)] == [{"score": 1.0}]
    assert [model.name for model in there.search_registered_models()] == ["there"]
