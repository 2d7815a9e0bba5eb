"""What Prefect resolves before a body gets it, or after it returned: futures, annotations, states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFutureList
from prefect.states import Completed
from prefect.utilities.annotations import allow_failure, quote, unmapped
from tests.runs import all_runs, run_of

from flowml import Metric, Param, describe, flow, task


@task(cache_policy=None)
def load(number: int) -> pd.DataFrame:
    """Make a table."""
    return pd.DataFrame({"a": [number]})


@task(cache_policy=None)
def count(number: int) -> int:
    """Give a number."""
    return number


@dataclass
class Config:
    """Holds parts."""

    parts: Any
    size: int = 2


def test_results_of_map_are_described_as_the_list_that_the_body_gets(client: MlflowClient) -> None:
    """Given as they come, inside others or in Prefect's annotations, they are logged as the same list written out."""

    @task(cache_policy=None)
    def join(parts: Any) -> None: ...

    @flow
    def inner(parts: Any) -> None: ...

    @flow
    def main() -> None:
        tables, numbers = load.map([1, 2]), count.map([1, 2])
        frames = [load.fn(1), load.fn(2)]
        for name, given, written in (
            ("tables", tables, frames),
            ("numbers", numbers, [1, 2]),
            ("key", {"a": tables, "b": {"c": numbers}}, {"a": frames, "b": {"c": [1, 2]}}),
            ("field", Config(tables), Config(frames)),
            ("nest", [numbers, (numbers, 3)], [[1, 2], ([1, 2], 3)]),
            ("lists", [tables, [tables]], [frames, [frames]]),
            ("unmapped", unmapped(tables), frames),
            ("allowed", allow_failure(tables), frames),
            ("each allowed", [allow_failure(future) for future in tables], frames),
            ("quoted", quote(frames), frames),
            ("quoted inside", {"a": [quote(frames[0])]}, {"a": [frames[0]]}),
            ("states", [load(1, return_state=True)], frames[:1]),
        ):
            join.with_options(task_run_name=f"{name} given")(given)
            join.with_options(task_run_name=f"{name} written")(written)
        join.with_options(task_run_name="futures")(quote(tables))
        inner(tables)

    main()
    runs = {run.info.run_name: run for run in all_runs(client)}

    def logged(run: Run) -> tuple[dict[str, str], list[tuple[str, str]]]:
        given = run.inputs.dataset_inputs
        return run.data.params, sorted((each.dataset.name, each.dataset.digest) for each in given)

    names = [name.removesuffix(" given") for name in runs if name.endswith(" given")]
    assert len(names) == 12
    for name in names:
        assert logged(runs[f"{name} given"]) == logged(runs[f"{name} written"]), name
    assert [name for name, _ in logged(runs["tables given"])[1]] == ["parts.0", "parts.1"]
    assert logged(runs["nest given"])[0] == {"parts": "[[1, 2], [[1, 2], 3]]"}
    assert logged(runs["futures"]) == ({"parts": "list of 2: PrefectConcurrentFuture"}, [])
    assert logged(run_of(client, "inner")) == logged(runs["tables given"])


class Row(list[int]):
    """A list of the user's own."""


@pytest.mark.parametrize("kind", [PrefectFutureList, Row])
def test_a_marker_takes_a_list_of_any_class(kind: type) -> None:
    """`Param` and `Metric` on a list of a class of its own do what they do on a list."""
    for annotation in (Annotated[Any, Param()], Annotated[Any, Metric("m")], None):
        assert describe.outputs(kind([1, 2]), "t", annotation) == describe.outputs([1, 2], "t", annotation)
    assert describe.inputs({"x": [kind([1, 2])]}, {}) == describe.inputs({"x": [[1, 2]]}, {})


def test_the_data_of_a_returned_state_is_logged_by_its_type(client: MlflowClient) -> None:
    """A state that a task makes, or that a flow hands on, is what it holds; one that holds nothing is its type."""

    @task(cache_policy=None)
    def table() -> State[Any]:
        return Completed(data=pd.DataFrame({"a": [1]}))

    @task(cache_policy=None)
    def scores() -> tuple[float, State[Any]]:
        return 0.5, Completed(data={"recall": 0.25})

    @task(cache_policy=None)
    def nothing() -> State[Any]:
        return Completed(name="Skipped")

    @flow
    def main() -> list[State[Any]]:
        return [table(return_state=True), scores(return_state=True), nothing(return_state=True)]

    main(return_state=True)
    assert [given.dataset.name for given in run_of(client, "table").inputs.dataset_inputs] == ["table"]
    assert run_of(client, "scores").data.metrics == {"scores.0": 0.5, "scores.1.recall": 0.25}
    assert run_of(client, "nothing").data.params == {"return": "State"}
    run = run_of(client, "main")
    assert [given.dataset.name for given in run.inputs.dataset_inputs] == ["main.0"]
    assert run.data.metrics["main.1.0"] == 0.5
