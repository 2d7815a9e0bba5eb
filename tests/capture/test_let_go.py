"""What a task was given is the user's: flowml keeps none of it, nor work for the garbage collector."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest
from mlflow import MlflowClient
from tests.runs import runs_of

import flowml
from flowml import Track, flow, task
from flowml.capture.session import Session
from flowml.store.summarized_run import SummarizedRun


class Table:
    """Something big."""


@contextmanager
def without_garbage_collector() -> Iterator[None]:
    """Let only that be freed which nothing refers to any more."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def tasks_garbage() -> list[object]:
    """Return what flowml left of tasks for the garbage collector to free; flows are few."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        # By type: a proxy in there, of any library's, has no class to ask once what it stood for is gone.
        calls = [found for found in gc.garbage if type(found) in {Session, SummarizedRun}]
        return [found for found in calls if not isinstance(found, Session) or found.call.identity.kind == "task"]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


@pytest.mark.slow
@pytest.mark.parametrize("track", [Track(), Track(children="failed")], ids=["with runs", "summed up"])
def test_what_a_task_was_given_is_let_go_when_its_run_is_sent(client: MlflowClient, track: Track) -> None:
    """A table that was given to a task is freed once the run is in MLflow, before the garbage collector comes."""
    freed = Event()

    @task
    def use(table: Any) -> int:
        return id(table)

    @flow(track=track)
    def pipeline() -> None:
        use(None)  # Prefect's client of events keeps what the first task was given, and the last one
        table = Table()
        weakref.finalize(table, freed.set)
        use(table)
        del table
        use(None)
        flowml.flush()
        assert freed.wait(20)
        assert tasks_garbage() == []

    with without_garbage_collector():
        pipeline()
    assert len(runs_of(client, "use")) == (3 if track.children == "all" else 0)
