"""What subscribers are notified of."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

import flowml
from flowml import flow, task
from flowml.store.backend import notifications
from flowml.store.backend.notifications import Notification


@pytest.fixture
def told(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[Notification]:
    """What a subscriber hears, in a list."""
    heard: list[Notification] = []
    monkeypatch.setattr(notifications, "_subscribers", [])
    notifications.subscribe(heard.append)
    return heard


@task
def measure() -> float:
    """Log a number."""
    return 0.5


def test_the_end_of_a_flow_run_is_one_notification(told: list[Notification]) -> None:
    """It comes when the run is closed, and holds what the run holds; tasks have none."""

    @flow
    def measuring() -> str:
        measure()
        return flowml.current_run().run_id

    run_id = measuring()
    (ended,) = told
    assert (ended.kind, ended.run_id, ended.facts["status"]) == ("run finished", run_id, "FINISHED")
    assert ended.summary is not None
    assert ended.summary.metrics == {"measure": 0.5}


def test_a_run_that_mlflow_does_not_close_has_not_finished(told: list[Notification]) -> None:
    """Somebody deleted it meanwhile: whoever watches it hears of the trouble, and no event says that it finished."""

    @flow
    def vanishing() -> None:
        flowml.flush()
        MlflowClient().delete_run(flowml.current_run().run_id)

    vanishing()
    (ended,) = told
    assert ended.kind == "run left open"
    assert ended.summary is not None
    assert ended.summary.problems
