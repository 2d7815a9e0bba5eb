"""What flowml could not log of a flow: each kind once in the log, all of it on the flow's run."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
import pytest
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression
from tests.runs import flow_run, run_of

import flowml
from flowml import Artifact, faults, flow, task
from flowml.capture import session, tracing


class Refusing(LinearRegression):
    """A model that cannot be serialized."""

    def __init__(self, why: str = "") -> None:
        super().__init__()
        self.why = why

    def __getstate__(self) -> Any:
        """Refuse."""
        raise ValueError(self.why)


class Unreadable(Mapping[str, int]):
    """A configuration that cannot be read."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __getitem__(self, key: str) -> int:
        """Have no value."""
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        """Fail."""
        raise OSError(self.why)

    def __len__(self) -> int:
        """Say that there is one."""
        return 1


@task
def fit(why: str) -> Refusing:
    """Fit a model that cannot be serialized."""
    return Refusing(why).fit([[0.0], [1.0]], [0.0, 2.0])


@task
def read(config: Any) -> int:
    """Take a configuration."""
    return len(config)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return flowml's warnings."""
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("flowml:")]


def test_every_distinct_loss_is_told(client: MlflowClient, caplog: pytest.LogCaptureFixture) -> None:
    """Of models that cannot be serialized and values not described, each kind is a line, and each is on the run."""

    @flow
    def losing() -> None:
        for number in range(2):
            fit(f"cannot pickle <lambda at 0x7f{number}abc>")
        fit("another reason")
        for number in range(20):
            flowml.log(config=Unreadable(f"reason {number}"))
        read(Unreadable("the file is gone"))

    with caplog.at_level(logging.WARNING):
        losing()
    lines = said(caplog)
    reasons = [f"reason {number}" for number in range(10)]
    expected = ["pickle <lambda at 0x7f0abc>.", "ValueError: another reason", *reasons, "more of this kind", "is gone"]
    assert [part in line for part, line in zip(expected, lines, strict=True)] == [True] * len(expected)
    assert "could not describe 'config': Unreadable (not described: OSError: the file is gone" in lines[-1]
    told = json.loads(flow_run(client).data.tags["flowml.tracking_error"])
    assert (len(told), told[22]) == (24, "could not describe 'config': Unreadable (not described: OSError: reason 19).")
    assert run_of(client, "read").data.params["config"].startswith("Unreadable (not described")


def test_a_file_that_cannot_be_written_is_a_loss(client: MlflowClient, caplog: pytest.LogCaptureFixture) -> None:
    """A value that its file's format does not take is a line with the reason, and stands on the flow's run."""

    @task
    def make() -> Annotated[object, Artifact("a.npy")]:
        return np.array([None])

    @flow
    def making() -> None:
        make()

    making()
    (line,) = said(caplog)
    (told,) = json.loads(flow_run(client).data.tags["flowml.tracking_error"])
    assert told in line
    for part in ("a.npy", ".npy does not take it", ".npz"):
        assert part in told
    assert run_of(client, "make").data.params["return"] == "ndarray (not written as a.npy)"


def test_the_next_flow_run_tells_anew(client: MlflowClient, caplog: pytest.LogCaptureFixture) -> None:
    """What a flow run told is told again by the next."""

    @flow
    def reading() -> None:
        read(Unreadable("it is gone"))

    reading()
    reading()
    assert ["is gone" in line for line in said(caplog)] == [True, True]


def mistaken(*_: Any, **__: Any) -> Any:
    """Stand for a mistake of flowml's."""
    raise TypeError("unsupported operand")


def test_a_fault_of_flowmls_is_named_as_that(
    client: MlflowClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of flowml's in the task's thread is a line that says so, and stands on the flow's run."""

    @flow
    def adding() -> int:
        return read([1, 2])

    gc.collect()  # a generator that another test left open logs its outputs when it is collected: not while they fail
    monkeypatch.setattr(faults, "strict", False)
    monkeypatch.setattr(session.describe, "outputs", mistaken)
    assert adding() == 2
    (line,) = said(caplog)
    assert (
        "could not log the outputs: a fault of flowml's own, not of MLflow's or yours: TypeError: unsupported" in line
    )
    (text, *_) = json.loads(flow_run(client).data.tags["flowml.tracking_error"])
    assert text.startswith("could not log the outputs: a fault of flowml's own")


def test_a_span_that_cannot_be_ended_takes_nothing_along(
    client: MlflowClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the task returned is logged, and its run closed, where its span in the trace fails."""

    @flow
    def adding() -> int:
        return read([1, 2])

    monkeypatch.setattr(faults, "strict", False)
    monkeypatch.setattr(tracing.CallSpan, "end", mistaken)
    assert adding() == 2
    ended = run_of(client, "read")
    assert (ended.info.status, ended.data.tags["prefect.state"]) == ("FINISHED", "Completed")
    assert ended.data.metrics == {"read": 2.0}
    assert flow_run(client).data.metrics["adding"] == 2.0
    assert all("could not close the run: a fault of flowml's own" in line for line in said(caplog))
