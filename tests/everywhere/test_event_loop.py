"""flowml never holds the event loop of async flows and tasks while MLflow or Prefect answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import prefect
import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW, temporary_settings
from sklearn.linear_model import LogisticRegression

import flowml
from flowml.store.backend import connection
from tests.everywhere.ticking import Ticker, in_front_of
from tests.runs import runs_of

pytestmark = pytest.mark.e2e


class Servers:
    """MLflow and Prefect, which answer when the loop goes on, and what they were asked for while it did not."""

    def __init__(self, ticker: Ticker, mlflow: tuple[str, list[str]], prefect: tuple[str, list[str]]) -> None:
        self._ticker = ticker
        self.mlflow, self.held_by_mlflow = mlflow
        _, self.held_by_prefect = prefect

    def run(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Run something on a loop that is counted."""

        async def counted() -> None:
            ticking = asyncio.create_task(self._ticker.tick())
            await asyncio.sleep(0)
            try:
                await call()
            finally:
                ticking.cancel()

        asyncio.run(counted())


@pytest.fixture
def servers(
    project: Any, prefect_server: None, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Servers]:
    """Stand before the real servers; nobody is connected to MLflow yet."""
    ticker = Ticker()
    with (
        in_front_of(mlflow_server, ticker) as mlflow,
        in_front_of(str(PREFECT_API_URL.value()), ticker) as api,
        temporary_settings({PREFECT_API_URL: api[0], PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}),
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow[0])
        monkeypatch.setenv("FLOWML_TASK_LINKS", "2")
        yield Servers(ticker, mlflow, api)
        flowml.flush()
        connection._connection.cache_clear()


async def whole(kit: Any, model: LogisticRegression) -> None:
    """Run a flow with each kind of async call: tasks side by side, a generator, one that fails, a model."""
    timed = {"timeout_seconds": 100}

    @kit.task(cache_policy=None, **timed)
    async def score(number: int) -> float:
        await asyncio.sleep(0)
        return number / 2

    @kit.task(cache_policy=None)
    async def fitted() -> LogisticRegression:
        return model

    @kit.task(cache_policy=None)
    async def numbers() -> AsyncIterator[float]:
        yield 1.0
        yield 2.0

    @kit.task(cache_policy=None)
    async def broken() -> None:
        msg = "as expected"
        raise ValueError(msg)

    @kit.flow
    async def sub() -> float:
        return 0.5

    @kit.flow(**timed)
    async def looped() -> float:
        await asyncio.gather(score(1), score(2), fitted(), sub())
        assert [number async for number in numbers()] == [1.0, 2.0]
        with suppress(ValueError):
            await broken()
        return 0.9

    await looped()


@pytest.mark.slow
def test_no_answer_of_a_server_holds_the_loop(servers: Servers) -> None:
    """What MLflow and Prefect are asked for at the beginning, in the middle and at the end waits beside the loop."""
    # Fitted here: where autologging was ever on in the process, a fit asks MLflow for the active run, on the loop too.
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    servers.run(lambda: whole(prefect, model))
    by_prefect_alone = list(servers.held_by_prefect)
    servers.run(lambda: whole(flowml, model))
    assert runs_of(MlflowClient(servers.mlflow), "looped")[-1].data.metrics["looped"] == 0.9
    assert servers.held_by_mlflow == []
    assert set(servers.held_by_prefect) <= set(by_prefect_alone)


@pytest.mark.slow
def test_no_end_of_an_outermost_call_holds_the_loop(servers: Servers) -> None:
    """Flows and tasks that nothing is above wait beside the loop for MLflow, also where they fail with what it says."""
    strict = flowml.Track(on_error="raise")

    @flowml.flow(track=strict)
    async def failing() -> None:
        msg = "as expected"
        raise ValueError(msg)

    @flowml.task(track=strict, cache_policy=None)
    async def alone() -> float:
        return 1.0

    @flowml.flow
    async def succeeding() -> float:
        return 1.0

    async def each() -> None:
        with suppress(ValueError):
            await failing()
        await alone()
        await succeeding()

    servers.run(each)
    assert runs_of(MlflowClient(servers.mlflow), "failing")[-1].info.status == "FAILED"
    assert servers.held_by_mlflow == []
