"""What MLflow does not take: tried again while it may pass, told where it is lost, named as flowml's where it is."""

from __future__ import annotations

import errno
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.protos import service_pb2
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sklearn.linear_model import LinearRegression

import flowml
from flowml import TrackingError, faults, records, settings
from flowml.background import Publisher
from flowml.options import Track
from flowml.store import Run, join, open_run, process_end
from flowml.store.backend.connection import connect

_OUTAGE = 2.0  # seconds


def opened(parent: Run | None = None) -> Run:
    """Open a run."""
    call = records.Identity(
        name="a run", kind="flow", owner="tests", attempt=1, started=0, source=None, tags={}, tag=("", "")
    )
    return open_run(call, track=Track(), parent=parent)


def stored(run: Run) -> Any:
    """Return what MLflow has of a run."""
    assert run.info is not None
    return connect().client.get_run(run.info.run_id)


def told(run: Run) -> list[str]:
    """Return the losses in a run's tag."""
    losses: list[str] = json.loads(stored(run).data.tags.get("flowml.tracking_error", "[]"))
    return losses


@pytest.fixture
def hurried(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait two seconds for MLflow."""
    monkeypatch.setenv("FLOWML_TIMEOUT", "2")
    settings.reload()


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, place: type, name: str, error: Exception) -> Iterator[None]:
    """Let a method of MLflow's fail."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(place, name, fail)
        yield


@pytest.mark.usefixtures("project")
def test_seconds_of_internal_errors_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where MLflow's store fails for a while at the end, all is tried again until it is there, and nothing is told."""
    run, works, until = opened(), SqlAlchemyStore.log_batch, time.monotonic() + _OUTAGE
    run.as_caller()

    def fail_for_a_while(*args: Any, **kwargs: Any) -> Any:
        if time.monotonic() < until:
            raise MlflowException("the database is being moved")
        return works(*args, **kwargs)

    monkeypatch.setattr(SqlAlchemyStore, "log_batch", fail_for_a_while)
    run.put([records.Param("rate", "0.1"), records.Metric("loss", 0.5), records.Text("notes.txt", "kept")])
    run.close("FINISHED", 1)
    run.settle()
    assert time.monotonic() >= until
    assert (stored(run).info.status, stored(run).data.params) == ("FINISHED", {"rate": "0.1"})
    assert stored(run).data.metrics == {"loss": 0.5}
    assert told(run) == []


@pytest.mark.usefixtures("project")
def test_each_flow_has_a_delay_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that used up its ``max_delay`` leaves the next one its own, also where a third one never ends."""
    monkeypatch.setenv("FLOWML_MAX_DELAY", "2")
    settings.reload()
    never_ends, first = opened(), opened()
    with failing(monkeypatch, SqlAlchemyStore, "log_batch", MlflowException("the database is being moved")):
        first.put([records.Metric("loss", 0.5)])
        first.close("FINISHED", 1)
        with pytest.raises(TrackingError, match=r"waits? on this disk"):
            first.settle()
    second, works, failures = opened(), SqlAlchemyStore.log_batch, iter(range(2))

    def fail_twice(*args: Any, **kwargs: Any) -> Any:
        if next(failures, None) is not None:
            raise MlflowException("the database is being moved")
        return works(*args, **kwargs)

    monkeypatch.setattr(SqlAlchemyStore, "log_batch", fail_twice)
    second.put([records.Metric("loss", 0.25)])
    second.close("FINISHED", 1)
    second.settle()
    assert stored(second).data.metrics == {"loss": 0.25}
    never_ends.close("FINISHED", 1)
    never_ends.settle()


@pytest.mark.usefixtures("project")
def test_an_empty_answer_is_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where something else than MLflow answers a new run by nothing, the run is created when MLflow answers again."""
    works, until = MlflowClient.create_run, time.monotonic() + _OUTAGE

    def answer_nothing_for_a_while(*args: Any, **kwargs: Any) -> Any:
        nothing = MlflowRun.from_proto(service_pb2.Run())
        return nothing if time.monotonic() < until else works(*args, **kwargs)

    monkeypatch.setattr(MlflowClient, "create_run", answer_nothing_for_a_while)
    run = opened()
    run.put([records.Metric("loss", 0.5)])
    run.close("FINISHED", 1)
    run.settle()
    assert (stored(run).info.status, stored(run).data.metrics) == ("FINISHED", {"loss": 0.5})
    assert told(run) == []


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.usefixtures("hurried")
def test_what_is_late_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is closed without files that the disk has no room for; its tag says so until they are there."""
    run, model = opened(), LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    with failing(monkeypatch, LocalArtifactRepository, "log_artifacts", FULL):
        run.put([records.Metric("loss", 0.5), records.Text("notes.txt", "late"), records.Model("m", model, "sklearn")])
        run.close("FINISHED", 1)
        with pytest.raises(TrackingError, match="No space left"):
            run.settle()
        assert (stored(run).info.status, stored(run).data.metrics) == ("FINISHED", {"loss": 0.5})
        (text,) = told(run)
        assert text.startswith("not sent yet: MLflow at sqlite")
        assert "No space left on device" in text
        other = opened()
        other.close("FINISHED", 1)
        other.settle()  # what is late of another waits for itself
    flowml.flush()
    info, client = stored(run).info, connect().client
    assert [item.path for item in client.list_artifacts(info.run_id)] == ["notes.txt"]
    (logged,) = client.search_logged_models([info.experiment_id])  # one, however often it was tried
    assert (str(logged.status), logged.source_run_id) == ("READY", info.run_id)
    assert told(run) == []


@pytest.mark.usefixtures("project")
def test_what_is_lost_with_the_process_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At the end of a process without a journal the log says how many runs have something never sent, and why."""
    monkeypatch.setenv("FLOWML_JOURNAL", "false")
    settings.reload()
    run = opened()
    run.as_caller()
    with failing(monkeypatch, LocalArtifactRepository, "log_artifacts", FULL), caplog.at_level(logging.WARNING):
        run.put([records.Text("notes.txt", "lost")])
        run.close("FINISHED", 1)
        process_end._flush_at_exit()
    assert "1 runs have something unsent, which is lost with this process: MLflow at sqlite" in caplog.text
    assert "No space left on device" in caplog.text


@pytest.mark.usefixtures("project")
def test_what_mlflow_does_not_take_is_no_matter_of_its_folder() -> None:
    """Of a name that MLflow refuses its own reason is told, without advice on the store."""
    run = opened()
    run.put([records.Tag("in/../valid", "x")])
    run.close("FINISHED", 1)
    with pytest.raises(TrackingError):
        run.settle()
    (text,) = told(run)
    assert "in/../valid" in text
    assert "folder" not in text


@pytest.mark.usefixtures("project")
def test_each_loss_is_told() -> None:
    """All that MLflow refuses of a run and of those below it is in the error at the end, and in the flow's tag."""
    run = opened()
    inner = opened(run)
    for each, name in ((run, "in/../valid"), (inner, "also/../invalid")):
        each.put([records.Tag(name, "x"), records.Metric("kept", 1.0)])
    inner.close("FINISHED", 1)
    run.close("FINISHED", 1)
    with pytest.raises(TrackingError) as caught:
        run.settle()
    texts = [str(caught.value), *map(str, caught.value.others)]
    assert ["also/../invalid" in texts[0], "in/../valid" in texts[1]] == [True, True]
    assert told(run) == texts
    assert stored(inner).data.metrics == {"kept": 1}


@pytest.mark.usefixtures("project")
def test_more_losses_than_a_tag_holds() -> None:
    """The tag holds as many as there is room for, and says how many more there are."""
    run = opened()
    for number in range(100):
        run.note_loss(f"{number} {'because ' * 30}")
    run.close("FINISHED", 1)
    run.settle()
    first, *_, last = told(run)
    assert (first[:9], last) == ("0 because", f"and {101 - len(told(run))} more")


@pytest.mark.usefixtures("project")
def test_another_process_loses_something() -> None:
    """What a worker process loses is on the flow's run when that has ended, beside what the flow's own process lost."""
    run = opened()
    elsewhere, own = join(run.as_caller()), join(run.as_caller())
    elsewhere.note_loss("one")
    elsewhere.settle()
    opened_there = opened(own)
    opened_there.note_loss("two")
    opened_there.close("FINISHED", 1)
    opened_there.settle()
    run.note_loss("three")
    run.close("FINISHED", 1)
    run.settle()
    assert told(run) == ["three", "one", "a run: two"]


BROKEN = records.Dataset("df", "input", "0" * 36, "pandas.DataFrame", {"mlflow_colspec": object()}, {})


@pytest.mark.usefixtures("project")
def test_a_fault_of_flowmls_is_named_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the sender is not MLflow's: it says so, where it is, and what to report; the rest is sent."""
    monkeypatch.setattr(faults, "strict", False)
    run = opened()
    run.put([BROKEN, records.Metric("loss", 0.5), records.Text("notes.txt", "kept")])
    run.close("FINISHED", 1)
    began = time.monotonic()
    with pytest.raises(TrackingError) as caught:
        run.settle()
    text = str(caught.value)
    assert text.startswith("a fault of flowml's own, not of MLflow's or yours: TypeError: Object of type object")
    assert "(at flowml.store.sending.batches:" in text
    assert "report this line to flowml, with the versions that `flowml doctor` prints" in text
    assert time.monotonic() - began < settings.current().timeout  # it is not tried again
    assert (stored(run).info.status, stored(run).data.metrics) == ("FINISHED", {"loss": 0.5})
    assert told(run) == [text]


@pytest.mark.usefixtures("project")
def test_the_tests_hear_of_a_fault_in_any_thread() -> None:
    """In the tests' strict mode a mistake that flowml's sender or publisher makes is known to the test."""
    run = opened()
    run.put([BROKEN])
    run.close("FINISHED", 1)
    with pytest.raises(TrackingError):
        run.settle()

    def fail() -> None:
        raise KeyError("no such label")

    publisher = Publisher(idle=lambda: None)
    publisher.add(fail)
    assert publisher.wait(20) == 0
    assert [type(fault) for fault in faults.seen] == [TypeError, KeyError]
    faults.seen.clear()
