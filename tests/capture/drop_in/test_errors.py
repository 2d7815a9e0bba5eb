"""Wrong calls and wrong options: flowml's decorators raise Prefect's errors."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import Any

import prefect
import prefect.assets
import pytest
from prefect import unmapped
from pydantic import BaseModel, ConfigDict
from tests.capture.drop_in.conftest import Compare
from tests.capture.drop_in.sides import Side, error_of, plain

import flowml


def function(x: int, y: int = 1) -> int:
    """Be decorated."""
    return x + y


WRONG: dict[str, Callable[[Any], Any]] = {
    "unknown option of a task": lambda side: side.task(retrys=3),
    "unknown option of a flow": lambda side: side.flow(retrys=3),
    "unknown option with a function": lambda side: side.task(function, retrys=3),
    "option by position": lambda side: side.task(function, "name"),
    "option of a flow by position": lambda side: side.flow(function, "name"),
    "task of no function": lambda side: side.task(3),
    "flow of no function": lambda side: side.flow("name"),
    "flow of a number": lambda side: side.flow(3.5),
    "reserved argument of a task": lambda side: side.task(lambda return_state: return_state),
    "reserved argument of a flow": lambda side: side.flow(lambda wait_for: wait_for),
    "hooks that are no list": lambda side: side.task(on_failure=print)(function),
    "hook that cannot be called": lambda side: side.flow(on_completion=["print"])(function),
    "two cache functions": lambda side: side.task(cache_key_fn=3, cache_policy=3)(function),
    "too many delays": lambda side: side.task(retries=60, retry_delay_seconds=[1] * 60)(function),
    "negative jitter": lambda side: side.task(retry_jitter_factor=-1)(function),
    "condition that cannot be called": lambda side: side.task(retry_condition_fn=3)(function),
    "run name of a wrong type": lambda side: side.flow(flow_run_name=3)(function),
    "flow name of a wrong type": lambda side: side.flow(name=3)(function),
    "banned characters": lambda side: side.flow(name="a/b")(function),
    "task run name of a wrong type": lambda side: side.task(task_run_name=3)(function),
    "storage key that is empty": lambda side: side.task(result_storage_key="", persist_result=False)(function),
    "unknown option of with_options": lambda side: side.task(function).with_options(retrys=1),
    "unknown option of a flow's with_options": lambda side: side.flow(function).with_options(retrys=1),
    "wrong option of with_options": lambda side: side.task(function).with_options(name=function, retries="x"),
    "no asset": lambda side: side.materialize()(function),
    "a bad asset": lambda side: side.materialize("no address")(function),
    "unknown option of materialize": lambda side: side.materialize("s3://b/k", retrys=1)(function),
    "a flow's argument that it does not have": lambda side: side.flow(function)(1, z=3),
    "a flow's missing argument": lambda side: side.flow(function)(),
    "a flow's argument twice": lambda side: side.flow(function)(1, x=2),
    "a task's argument that it does not have": lambda side: side.task(function)(1, z=3),
    "a task's missing argument": lambda side: side.task(function)(),
    "a task's missing argument, submitted": lambda side: side.task(function).submit(),
    "a delayed task's missing argument": lambda side: side.task(function).delay(),
    "map of nothing": lambda side: side.task(function).map(unmapped(1)),
    "map of no list": lambda side: side.task(function).map(1),
    "map of unequal lengths": lambda side: side.task(function).map([1, 2], [1]),
    "parameters that do not fit": lambda side: side.flow(function).validate_parameters({"x": "one", "y": []}),
    "parameters that are missing": lambda side: side.flow(function).validate_parameters({"y": 1}),
    "no such entrypoint": lambda side: side.flow.from_source("nowhere", "gone.py:gone"),
    "entrypoint of a wrong form": lambda side: side.flow.from_source(".", "gone.py"),
    "a deployment of two schedules": lambda side: side.flow(function).to_deployment("d", cron="* * * * *", interval=3),
    "a deployment to no pool": lambda side: side.flow(function).deploy("d", work_pool_name="there-is-none"),
}


class Options(BaseModel):
    """A parameter of a flow."""

    model_config = ConfigDict(extra="forbid")
    depth: int = 1


class Decorators:
    """A pair of decorators for errors that need no server."""

    def __init__(self, module: Any, materialize: Any) -> None:
        self.flow, self.task, self.materialize = module.flow, module.task, materialize


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_call_raises_prefects_error(what: str, prefect_server: None) -> None:
    """The type and the words of the error are Prefect's, also where Prefect raises none."""
    theirs = Decorators(prefect, prefect.assets.materialize)
    ours = Decorators(flowml, flowml.materialize)

    def given(side: Any) -> Any:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                result: Any = type(WRONG[what](side)).__name__
            except Exception as error:  # noqa: BLE001 - which one it is, is what is compared
                result = plain(error)
        # SQLAlchemy warns of MLflow's tables once in a process, and so on one of two sides.
        told = [each for each in warned if not each.category.__module__.startswith("sqlalchemy.")]
        return result, [(warning.category, str(warning.message)) for warning in told]

    assert given(ours) == given(theirs)


def of_validation(side: Side) -> Any:
    """Parameters by their annotations: converted, refused, not looked at."""

    @side.flow
    def checked(x: int, options: Options = Options()) -> Any:  # noqa: B008 - as users write it
        return [x, type(options).__name__, options.depth]

    unchecked = checked.with_options(validate_parameters=False)
    refused = [plain(error_of(lambda: checked("one"))), plain(error_of(lambda: checked(1, {"deep": 1})))]
    return (
        checked("1", {"depth": "3"}),
        plain(checked("x", return_state=True)),
        refused,
        unchecked.should_validate_parameters,
    )


def of_calls_in_the_wrong_place(side: Side) -> Any:
    """A flow that is submitted in no flow; tasks that fail in a map; a state that is asked for by a wrong type."""

    @side.task
    def picky(x: int) -> int:
        if x == 2:
            raise ValueError(f"not {x}")
        return x

    @side.flow
    def pipeline() -> Any:
        futures = picky.map([1, 2])
        futures.wait()
        return [plain([future.state for future in futures]), plain(error_of(futures.result))]

    @side.flow
    async def wrong() -> Any:
        return await picky(1)

    return pipeline(), plain(error_of(lambda: asyncio.run(wrong())))


@pytest.mark.parametrize(
    "scenario", [of_validation, of_calls_in_the_wrong_place], ids=lambda scenario: scenario.__name__
)
def test_errors_while_running_are_prefects(scenario: Callable[[Side], Any], compare: Compare) -> None:
    """Parameters are converted and refused, and failures told, in Prefect's words."""
    compare(scenario, ordered=scenario is of_validation)
