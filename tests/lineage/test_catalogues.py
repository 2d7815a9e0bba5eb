"""Where the catalogue is named, and what it costs a flow when it is down."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from tests.runs import all_runs

from flowml import flow, task


@task
def step(number: int) -> int:
    """Return a number."""
    return number


@flow
def job() -> list[int]:
    """Call some tasks."""
    return [step(number) for number in range(5)]


def test_the_clients_own_variables_do(catalogue: Any, client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenLineage's own variables name the catalogue, the namespace and the run that started the program."""
    del client
    monkeypatch.delenv("FLOWML_OPENLINEAGE_URL")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT", f'{{"type": "http", "url": "{catalogue.url}"}}')
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "churn")
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", "airflow/nightly.train/0198c0de-0000-7000-8000-000000000001")
    job()
    assert {event["job"]["namespace"] for event in catalogue.events} == {"churn"}
    parent = catalogue.of("job")[0]["run"]["facets"]["parent"]
    assert (parent["job"]["namespace"], parent["job"]["name"]) == ("airflow", "nightly.train")
    assert catalogue.of("job.step")[0]["run"]["facets"]["parent"]["root"]["job"]["name"] == "nightly.train"


def test_a_file_of_the_clients_does(catalogue: Any, client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An openlineage.yml in the folder names another transport; OPENLINEAGE_DISABLED turns all off."""
    del client
    monkeypatch.delenv("FLOWML_OPENLINEAGE_URL")
    Path("openlineage.yml").write_text("transport:\n  type: file\n  log_file_path: told.json\n  append: true\n")
    job()
    assert len(Path("told.json").read_text().splitlines()) == 12
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    job()
    assert len(Path("told.json").read_text().splitlines()) == 12
    assert catalogue.events == []


def test_the_namespace_and_the_path_are_settings(
    catalogue: Any, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The URL may hold the path of an endpoint, and FLOWML_OPENLINEAGE_NAMESPACE the namespace."""
    del client
    monkeypatch.setenv("FLOWML_OPENLINEAGE_URL", f"{catalogue.url}/openlineage/take")
    monkeypatch.setenv("FLOWML_OPENLINEAGE_NAMESPACE", "team")
    job()
    assert catalogue.paths == {"/openlineage/take"}
    assert {event["job"]["namespace"] for event in catalogue.events} == {"team"}


@pytest.mark.parametrize("how", ["down", "failing", "refusing", "hanging"])
def test_a_catalogue_that_does_not_answer_delays_nobody(
    how: str,
    catalogue: Any,
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The flow has its result and its runs in MLflow, one line is said, and the end waits two seconds at most."""
    job()
    if how == "down":
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            monkeypatch.setenv("FLOWML_OPENLINEAGE_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
    else:
        monkeypatch.setenv("FLOWML_OPENLINEAGE_NAMESPACE", how)
        monkeypatch.setenv("FLOWML_OPENLINEAGE_URL", f"{catalogue.url}/{how}")
    catalogue.status = {"failing": 500, "refusing": 422}.get(how, 201)
    if how == "hanging":
        catalogue.hangs.set()
    caplog.set_level(logging.WARNING)
    began = time.monotonic()
    assert job() == list(range(5))
    first = time.monotonic() - began
    began = time.monotonic()
    assert job() == list(range(5))
    second = time.monotonic() - began
    assert len(all_runs(client)) == 18
    said = [record.message for record in caplog.records if "OpenLineage catalogue" in record.message]
    assert len(said) == 1
    assert first < 2 + 8
    assert second < 8  # the wait is for the first flow alone


def test_events_wait_until_the_catalogue_is_back(catalogue: Any, client: MlflowClient) -> None:
    """What could not be sent is sent, in order, when the catalogue takes it again, while the process lives."""
    del client
    catalogue.status = 503
    job()
    assert catalogue.events == []
    catalogue.status = 201
    deadline = time.monotonic() + 20
    while len(catalogue.events) < 12 and time.monotonic() < deadline:
        job() if not catalogue.events else time.sleep(0.05)
    assert catalogue.types("job")[:2] == ["START", "COMPLETE"]
