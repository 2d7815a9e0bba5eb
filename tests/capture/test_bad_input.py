"""When MLflow cannot be used: the user's flow runs, and one message says what to do."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from tests.runs import all_runs, run_of

from flowml import SettingsError, Track, TrackingError, flow, settings, task


@task
def add(number: int) -> int:
    """Add one."""
    return number + 1


@flow
def pipeline(number: int = 1) -> int:
    """Add one twice."""
    return add.submit(add(number)).result()


@pytest.fixture
def dead_server() -> str:
    """The address of a server that does not run, with a password in it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://ada:hunter2@127.0.0.1:{free.getsockname()[1]}"


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return flowml's warnings."""
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("flowml:")]


@pytest.mark.parametrize(
    "uri,expected",
    [
        pytest.param("DEAD", "Start the server, or set MLFLOW_TRACKING_URI", id="unreachable", marks=pytest.mark.slow),
        pytest.param("http://", "Check the address", id="no host"),
        pytest.param("htp:/nonsense", "A tracking URI looks like", id="malformed"),
        pytest.param("./mlruns", "mlflow migrate-filestore", id="file store"),
        pytest.param("sqlite:////proc/nothing/mlflow.db", "its folder exists and can be written", id="unwritable"),
    ],
)
@pytest.mark.usefixtures("client")
def test_an_unusable_uri_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, dead_server: str, uri: str, expected: str
) -> None:
    """The flow returns its value; one warning names the URI, without the password, and the remedy."""
    monkeypatch.setenv("FLOWML_TRACKING_URI", dead_server if uri == "DEAD" else uri)
    with caplog.at_level(logging.WARNING):
        assert pipeline() == 3
    (message,) = said(caplog)
    assert expected in message
    assert "hunter2" not in caplog.text


def test_raise_raises_a_tracking_error(client: MlflowClient, monkeypatch: pytest.MonkeyPatch, dead_server: str) -> None:
    """With ``on_error="raise"`` the flow fails with an error that says what to do."""
    monkeypatch.setenv("FLOWML_TRACKING_URI", dead_server)

    @flow(track=Track(on_error="raise"))
    def strict_flow() -> int:
        return 1

    with pytest.raises(TrackingError, match="Start the server") as caught:
        strict_flow()
    assert "hunter2" not in str(caught.value)
    assert caught.value.uri.startswith("http://ada:********@127.0.0.1")


def test_a_deleted_experiment_says_how_to_restore_it(client: MlflowClient, caplog: pytest.LogCaptureFixture) -> None:
    """Runs never land in another experiment than the one that was meant."""
    experiment_id = client.create_experiment("pipeline")
    client.delete_experiment(experiment_id)
    assert pipeline() == 3
    (message,) = said(caplog)
    assert f"mlflow experiments restore --experiment-id {experiment_id}" in message
    assert all_runs(client) == []


def test_an_artifact_folder_that_cannot_be_written_is_one_warning(
    client: MlflowClient, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Params and metrics are kept when the artifacts cannot be, and the run is closed."""
    (project / ".flowml" / "artifacts").write_text("a file where the folder should be")

    @task
    def text() -> str:
        return "long " * 1000

    @flow
    def writing(rate: float) -> int:
        return len(text())

    assert writing(0.5) == 5000
    assert len(said(caplog)) == 1
    assert run_of(client, "text").info.status == "FINISHED"
    assert run_of(client, "writing").data.params == {"rate": "0.5"}


def test_a_wrong_setting_is_named(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that cannot be read says which, its value, and why."""
    monkeypatch.setenv("FLOWML_TIMEOUT", "soon")
    with pytest.raises(SettingsError, match=r"timeout \(FLOWML_TIMEOUT.*cannot be 'soon'"):
        settings.reload()
    assert pipeline() == 3


def test_a_user_set_uri_wins(client: MlflowClient, project: Path, flowml_empty_store: Path) -> None:
    """What the user told MLflow is where the runs go."""
    elsewhere = project / "elsewhere.db"
    elsewhere.write_bytes(flowml_empty_store.read_bytes())
    mlflow.set_tracking_uri(f"sqlite:///{elsewhere}")
    pipeline()
    assert all_runs(client) == []
    assert len(all_runs(MlflowClient(f"sqlite:///{elsewhere}"))) == 3
