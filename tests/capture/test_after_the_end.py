"""What a task returned is logged after its end, and before anybody else has it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.context import TaskRunContext
from prefect.settings import (
    PREFECT_LOCAL_STORAGE_PATH,
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW,
    temporary_settings,
)
from sklearn.linear_model import LogisticRegression
from tests.runs import run_of, runs_of

import flowml
from flowml import Track, describe, flow, records, task
from flowml.describe import Place

seen: list[Any] = []
slow: list[threading.Event] = []


class Watchful(LogisticRegression):
    """A model that notes how far its task is when it is saved."""

    def __getstate__(self) -> Any:
        if (context := TaskRunContext.get()) is not None:
            state = context.task_run.state
            seen.append((state.name, context.task_run.end_time, threading.current_thread()))
            for event in slow:
                event.wait(1)
        return super().__getstate__()


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Begin with nothing seen."""
    seen.clear()
    slow.clear()
    yield
    slow.clear()


def fitted() -> Watchful:
    """Return a model."""
    return Watchful().fit([[0.0], [1.0]], [0, 1])


def models_of(client: MlflowClient, run: Run) -> list[str]:
    """Return the names of the models that a run made."""
    found = client.search_logged_models([run.info.experiment_id])
    return [model.name for model in found if model.source_run_id == run.info.run_id]


def assert_saved_after_the_end(client: MlflowClient, name: str) -> None:
    """The model was saved when Prefect had the end that MLflow has too."""
    run = run_of(client, name)
    assert seen
    assert {state for state, *_ in seen} == {"Completed"}
    assert {round(ended.timestamp() * 1000) for _, ended, _ in seen} == {run.info.end_time}
    assert models_of(client, run) == ["Watchful"]
    assert run.info.status == "FINISHED"


def test_a_model_is_saved_after_the_end_of_its_task_in_its_thread(client: MlflowClient) -> None:
    """Prefect and MLflow have the time at which the body ended."""
    threads = []

    @task
    def fit() -> Watchful:
        threads.append(threading.current_thread())
        return fitted()

    @flow
    def main() -> None:
        fit.submit().wait()

    main()
    assert_saved_after_the_end(client, "fit")
    assert {thread for *_, thread in seen} == set(threads)


def test_a_model_of_an_async_task_is_saved_after_its_end(client: MlflowClient) -> None:
    """So is that of a coroutine, in another thread than its loop's."""

    @task
    async def fit() -> Watchful:
        return fitted()

    @flow
    async def main() -> None:
        await fit()

    asyncio.run(main())
    assert_saved_after_the_end(client, "fit")
    assert threading.main_thread() not in {thread for *_, thread in seen}


def test_a_task_by_itself_waits_until_its_model_is_in_mlflow(client: MlflowClient) -> None:
    """An outermost task has all in MLflow when its call returns, with a timeout and without."""

    @task
    def fit() -> Watchful:
        return fitted()

    @task(timeout_seconds=100)
    def fit_in_time() -> Watchful:
        return fitted()

    @task
    async def fit_async() -> Watchful:
        return fitted()

    calls = {"fit": fit, "fit_in_time": fit_in_time, "fit_async": lambda: asyncio.run(fit_async())}
    with temporary_settings({PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}):
        for name, call in calls.items():
            seen.clear()
            call()
            assert_saved_after_the_end(client, name)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["in the main thread", "in another thread", "in a loop"])
def test_saving_a_model_takes_nothing_of_a_tasks_timeout(client: MlflowClient, where: str) -> None:
    """A model whose saving takes longer than the task may is saved, and the task is completed."""
    slow.append(threading.Event())  # nobody sets it

    @task(timeout_seconds=0.7)
    def fit() -> Watchful:
        return model

    @task(timeout_seconds=0.7)
    async def fit_async() -> Watchful:
        return model

    @flow
    def main() -> None:
        if where == "in the main thread":
            fit()
        else:
            fit.submit().result()

    @flow
    async def main_async() -> None:
        await fit_async()

    model = fitted()
    if where == "in a loop":
        asyncio.run(main_async())
        assert_saved_after_the_end(client, "fit_async")
    else:
        main()
        assert_saved_after_the_end(client, "fit")


def test_hooks_and_callers_come_after_the_saving(client: MlflowClient) -> None:
    """What they change in the value is not logged: the run has what the body returned."""
    scores = {"score": 1.0}

    def spoil(*_: Any) -> None:
        scores["score"] = 2.0

    @task(on_completion=[spoil])
    def score() -> dict[str, float]:
        return scores

    @flow
    def main() -> None:
        score()["score"] = 3.0

    main()
    assert run_of(client, "score").data.metrics == {"score": 1.0}


class Scores:
    """A result with a describer of its own."""


def test_a_result_is_kept_before_it_is_described(client: MlflowClient, tmp_path: Path) -> None:
    """Whoever hears of the end, and asks for the result, does not wait for the describing."""
    kept = []

    @describe.register(Scores)
    def of_scores(_: Scores, place: Place) -> Iterator[records.Record]:
        if place.role == "output":
            kept.append((tmp_path / "results" / "scores").exists())
        yield records.Metric("described", 1.0)

    @task(persist_result=True, result_storage_key="scores")
    def score() -> Scores:
        return Scores()

    @flow
    def main() -> None:
        score()

    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path / "results"}):
        main()
    assert kept == [True]
    run = run_of(client, "score")
    assert run.data.metrics == {"described": 1.0}
    assert run.data.tags["flowml.result_key"].endswith("scores")


def test_an_error_of_logging_that_is_to_be_the_tasks_still_is(client: MlflowClient) -> None:
    """With on_error="raise" a model is saved before the task's end, which its failure is."""

    @task(track=Track(on_error="raise"))
    def fit() -> Any:
        return Broken().fit([[0.0], [1.0]], [0, 1])

    @flow
    def main() -> None:
        fit()

    with pytest.raises(flowml.TrackingError, match="could not be serialized"):
        main()
    assert run_of(client, "fit").info.status == "FAILED"


class Broken(LogisticRegression):
    """A model that cannot be saved."""

    def __getstate__(self) -> Any:
        msg = "it holds a socket"
        raise TypeError(msg)


def test_a_body_that_returned_is_logged_also_where_its_task_fails_later(client: MlflowClient) -> None:
    """Each attempt has what it returned, though Prefect could make no result of it."""

    @task(retries=1, cache_expiration="a mistake")
    def score() -> dict[str, float]:
        return {"score": 1.0}

    @flow
    def main() -> str:
        score(return_state=True)
        return "done"

    main()
    runs = runs_of(client, "score")
    assert [(run.info.status, run.data.metrics) for run in runs] == [("FAILED", {"score": 1.0})] * 2
    assert [run.data.tags["prefect.state"] for run in runs] == ["Retrying", "Failed"]


def test_a_task_whose_result_cannot_be_committed_is_rolled_back_and_logged(client: MlflowClient) -> None:
    """The state of its run is that it was rolled back."""

    @task
    def score() -> dict[str, float]:
        return {"score": 1.0}

    @score.on_commit
    def fail(_: Any) -> None:
        msg = "not this one"
        raise ValueError(msg)

    @flow
    def main() -> None:
        score()

    main()
    run = run_of(client, "score")
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"score": 1.0})
    assert run.data.tags["prefect.state"] == "RolledBack"
    assert run.data.tags["flowml.rolled_back"] == "true"
