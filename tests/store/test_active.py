"""MLflow's active run follows the context, and falls back when MLflow is not as expected."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.tracking import fluent

from flowml.store import active
from flowml.store.connection import connect


@pytest.fixture
def stored(project: Path) -> MlflowClient:
    """A client of the project's store."""
    return connect().client


Runs: TypeAlias = Callable[[], list[mlflow.ActiveRun]]


def stack(client: MlflowClient, name: str) -> Runs:
    """Make a stack with a new run."""
    entity = client.create_run("0", run_name=name)
    return partial(active.Stack().runs, lambda: entity)


def run_id_of(mine: Runs) -> str:
    """Return the id of a stack's own run."""
    return str(mine()[0].info.run_id)


def test_each_context_has_its_own_active_run(stored: MlflowClient) -> None:
    """Two coroutines on one thread log by ``mlflow.log_param`` into two runs."""

    async def work(mine: Runs, number: int) -> None:
        with active.activated(mine):
            await asyncio.sleep(0)
            mlflow.log_param("id", number)
            await asyncio.sleep(0)
            current = mlflow.active_run()
            assert current is not None
            assert current.info.run_id == run_id_of(mine)

    async def both(stacks: list[Runs]) -> None:
        await asyncio.gather(*(work(mine, number) for number, mine in enumerate(stacks)))

    stacks = [stack(stored, "a"), stack(stored, "b")]
    asyncio.run(both(stacks))
    assert [stored.get_run(run_id_of(mine)).data.params for mine in stacks] == [{"id": "0"}, {"id": "1"}]
    assert mlflow.active_run() is None


def test_mlflows_own_stack_is_untouched(stored: MlflowClient) -> None:
    """The run that the user has active is active again afterwards."""
    with mlflow.start_run() as users:
        with active.activated(stack(stored, "ours")):
            assert mlflow.active_run().info.run_name == "ours"
        assert mlflow.active_run().info.run_id == users.info.run_id


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

    monkeypatch.setattr(fluent, "_active_run_stack", Unknown())
    active._install.cache_clear()
    with caplog.at_level(logging.WARNING):
        for name in ("one", "two"):
            mine = stack(stored, name)
            with active.activated(mine):
                mlflow.log_param("name", name)
            assert stored.get_run(run_id_of(mine)).data.params == {"name": name}

        async def asynchronous() -> object:
            with active.activated(stack(stored, "three")):
                return mlflow.active_run()

        assert asyncio.run(asynchronous()) is None
    assert len([record for record in caplog.records if "does not know" in record.getMessage()]) == 1
    active._install.cache_clear()
