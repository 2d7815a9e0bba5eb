"""MLflow's active run follows the context, and falls back when MLflow is not as expected."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.tracking import fluent as mlflows

from flowml import records
from flowml.store.backend.connection import connect
from flowml.store.by_hand import fluent
from flowml.store.lazy_store import LazyStore
from flowml.store.own_run import JoinedRun, joined


@pytest.fixture
def stored(project: Path) -> MlflowClient:
    """A client of the project's store."""
    return connect().client


def run(client: MlflowClient, name: str) -> JoinedRun:
    """Make a run that a session may be of."""
    run_id = client.create_run("0", run_name=name).info.run_id
    return joined(LazyStore.at(connect()), records.CurrentRun(run_id, "0", run_id, None))


def active(mine: JoinedRun, say: Callable[[str], None] = print) -> AbstractContextManager[None]:
    """Make it the active one."""
    return mine.active(say)


def id_of(mine: JoinedRun) -> str:
    """Return its id."""
    info = mine.info
    assert info is not None
    return info.run_id


def test_each_context_has_its_own_active_run(stored: MlflowClient) -> None:
    """Two coroutines on one thread log by ``mlflow.log_param`` into two runs."""

    async def work(mine: JoinedRun, number: int) -> None:
        with active(mine):
            await asyncio.sleep(0)
            mlflow.log_param("id", number)
            await asyncio.sleep(0)
            current = mlflow.active_run()
            assert current is not None
            assert current.info.run_id == id_of(mine)

    async def both(runs: list[JoinedRun]) -> None:
        await asyncio.gather(*(work(mine, number) for number, mine in enumerate(runs)))

    runs = [run(stored, "a"), run(stored, "b")]
    asyncio.run(both(runs))
    assert [stored.get_run(id_of(mine)).data.params for mine in runs] == [{"id": "0"}, {"id": "1"}]
    assert mlflow.active_run() is None


def test_mlflows_own_stack_is_untouched(stored: MlflowClient) -> None:
    """The run that the user has active stays active around a session, and inside it, as without flowml."""
    with mlflow.start_run() as users:
        with active(run(stored, "ours")):
            assert mlflow.active_run().info.run_id == users.info.run_id
        assert mlflow.active_run().info.run_id == users.info.run_id


def test_functions_that_are_taken_over_look_as_they_did() -> None:
    """Their signature, name and documentation are MLflow's, for editors and for code that inspects them."""
    assert fluent.install()
    assert list(inspect.signature(mlflow.start_run).parameters)[:3] == ["run_id", "experiment_id", "run_name"]
    assert mlflow.start_run.__name__ == "start_run"
    assert "Start a new MLflow run" in (mlflow.start_run.__doc__ or "")


def test_another_mlflow_is_said_once_and_sync_code_still_works(
    stored: MlflowClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If MLflow keeps its active run in a way flowml does not know, runs are activated in sync code only."""

    class Unknown:
        """What a future MLflow might have: a list for the thread, of another type."""

        def __init__(self) -> None:
            self.runs: list[object] = []

        def get(self) -> list[object]:
            """Return the list."""
            return self.runs

    monkeypatch.setattr(mlflows, "_active_run_stack", Unknown())
    fluent.install.cache_clear()
    with caplog.at_level(logging.WARNING):
        for name in ("one", "two"):
            mine = run(stored, name)
            with active(mine):
                mlflow.log_param("name", name)
            assert stored.get_run(id_of(mine)).data.params == {"name": name}

        async def asynchronous() -> object:
            with active(run(stored, "three")):
                return mlflow.active_run()

        assert asyncio.run(asynchronous()) is None
    assert len([record for record in caplog.records if "does not know" in record.getMessage()]) == 1
    fluent.install.cache_clear()
