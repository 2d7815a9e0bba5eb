"""Flows and tasks that are not run: attributes, copies, pickles, drawings, over many functions and options."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import warnings
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any, Literal
from uuid import uuid4

import cloudpickle
import prefect
import prefect.assets
import pytest
from prefect import cache_policies
from prefect.client.schemas import TaskRun
from prefect.context import TaskRunContext
from prefect.filesystems import LocalFileSystem
from prefect.flows import bind_flow_to_infrastructure
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff
from prefect.workers.process import ProcessWorker
from pydantic import BaseModel, Field

import flowml
from flowml.capture.engine.hooks import close_tracked_runs


class Options(BaseModel):
    """A parameter with a schema of its own."""

    depth: int = Field(1, gt=0, description="How deep")
    words: list[str] = []


def many(a: int, /, b: Literal["x", "y"] = "x", *rest: str, c: Annotated[float, Field(ge=0)] = 1.5, **more: Any) -> int:
    """Have arguments of every kind.

    Args:
        a: The first.
        b: The second.
        *rest: Some words.
        c: A number.
        **more: Anything.
    """
    return a


def typed(options: Options, day: datetime, wait: timedelta = timedelta(1), plain: Any = None) -> Options:
    """Have a schema."""
    return options


async def waiting(x: int) -> int:
    """Give it back."""
    return x


def counting(x: int) -> Any:
    """Count."""
    yield x


async def streaming(x: int) -> Any:
    """Stream."""
    yield x


@functools.wraps(typed)
def wrapped(*args: Any, **kwargs: Any) -> Any:
    """Be another function to every inspection."""
    return typed(*args, **kwargs)


def hook(of: Any, run: Any, state: Any) -> None:
    """Hear of a state."""


FUNCTIONS = [many, typed, waiting, counting, streaming, wrapped]
TASK_OPTIONS: list[dict[str, Any]] = [
    {},
    {"name": "Other", "description": "Said", "tags": ["a", "b"], "version": "1"},
    {"retries": 3, "retry_delay_seconds": [1, 2, 3], "retry_jitter_factor": 0.5},
    {"retries": 2, "retry_delay_seconds": exponential_backoff(2), "retry_condition_fn": hook},
    {"cache_policy": cache_policies.INPUTS, "cache_expiration": timedelta(1), "refresh_cache": True},
    {"cache_policy": cache_policies.NONE, "cache_result_in_memory": False},
    {"cache_key_fn": hook, "persist_result": True, "result_serializer": "json", "result_storage_key": "key"},
    {"task_run_name": "run-{x}", "timeout_seconds": 5, "log_prints": True, "viz_return_value": 3},
    {"on_completion": [hook], "on_failure": [hook, hook], "on_running": [hook]},
    {"asset_deps": ["s3://bucket/key"], "result_storage": "local-file-system/kept"},
]
FLOW_OPTIONS: list[dict[str, Any]] = [
    {},
    {"name": "Other", "description": "Said", "version": "1", "flow_run_name": "run-{x}"},
    {"retries": 3, "retry_delay_seconds": 2.5, "timeout_seconds": 5},
    {"validate_parameters": False, "log_prints": True, "cache_result_in_memory": False},
    {"persist_result": True, "result_serializer": "compressed/json"},
    {
        "on_completion": [hook],
        "on_failure": [hook],
        "on_running": [hook],
        "on_crashed": [hook],
        "on_cancellation": [hook],
    },
    {"task_runner": ThreadPoolTaskRunner(max_workers=2)},
    {"task_runner": ProcessPoolTaskRunner(max_workers=2)},
]


def by_name(value: Any) -> str:
    """Name a parametrised case."""
    return getattr(value, "__name__", None) or "-".join(value) or "plain"


def seen_of(made: Any) -> dict[str, Any]:
    """Return all that can be read of a flow or task: every attribute and property that is no method."""
    seen = {**vars(made), "track": None}
    for kind in {"on_cancellation_hooks", "on_crashed_hooks"} & seen.keys():  # flowml's own comes last there
        seen[kind] = [hook for hook in seen[kind] if hook is not close_tracked_runs]
    runner = seen.pop("task_runner", None)  # each flow makes one of its own
    seen["runner"] = (type(runner), getattr(runner, "max_workers", None), getattr(runner, "_max_workers", None))
    for name in dir(made):
        value = inspect.getattr_static(made, name)
        if isinstance(value, property) and not name.startswith("__"):
            seen[name] = getattr(made, name)
    for name in ("__doc__", "__name__", "__module__", "__qualname__", "__wrapped__"):
        seen[name] = getattr(made, name, None)
    seen["signature"] = inspect.signature(made)
    return seen


@pytest.mark.parametrize("options", TASK_OPTIONS, ids=by_name)
def test_tasks_of_all_options_are_equal(options: dict[str, Any], prefect_server: None, tmp_path: Path) -> None:
    """In each attribute and property, also after ``with_options`` and copying; both ways of decorating."""
    LocalFileSystem(basepath=tmp_path).save("kept", overwrite=True)
    for fn in FUNCTIONS:
        theirs = prefect.task(fn, **options)
        assert seen_of(flowml.Task(fn, **options)) == seen_of(prefect.Task(fn, **options))
        for ours in (flowml.task(fn, **options), flowml.task(**options)(fn)):
            assert seen_of(ours) == seen_of(theirs)
        again = {name: value for name, value in options.items() if name != "version"}
        for changed in ({"name": "changed"}, {"retries": 0, "tags": []}, {"cache_policy": cache_policies.NONE}, again):
            assert seen_of(ours.with_options(**changed)) == seen_of(theirs.with_options(**changed))
        assert seen_of(copy.copy(ours)) == seen_of(copy.copy(theirs))
        assert seen_of(flowml.task(**options)(fn, name="later")) == seen_of(prefect.task(**options)(fn, name="later"))


@pytest.mark.parametrize("options", FLOW_OPTIONS, ids=by_name)
def test_flows_of_all_options_are_equal(options: dict[str, Any]) -> None:
    """In each attribute and property, the schema of the parameters among them, also after ``with_options``."""
    for fn in FUNCTIONS:
        theirs = prefect.flow(fn, **options)
        for ours in (flowml.flow(fn, **options), flowml.flow(**options)(fn), flowml.Flow(fn, **options)):
            assert seen_of(ours) == seen_of(theirs)
            assert ours.parameters.model_dump() == theirs.parameters.model_dump()
        for changed in ({"name": "changed"}, {"version": "9", "retries": 0}, {"log_prints": False}, options):
            assert seen_of(ours.with_options(**changed)) == seen_of(theirs.with_options(**changed))
        assert seen_of(flowml.flow(**options)(fn, name="later")) == seen_of(prefect.flow(**options)(fn, name="later"))


def test_materializing_tasks_are_equal() -> None:
    """Also with other assets and options."""
    for options in TASK_OPTIONS[:4]:
        theirs = prefect.assets.materialize("s3://b/one", by="dbt", **options)(many)
        ours = flowml.materialize("s3://b/one", by="dbt", **options)(many)
        assert seen_of(ours) == seen_of(theirs)
        for changed in ({"assets": ["s3://b/two"]}, {"name": "changed"}):
            assert seen_of(ours.with_options(**changed)) == seen_of(theirs.with_options(**changed))


POLICIES = {
    name: value for name, value in vars(cache_policies).items() if isinstance(value, cache_policies.CachePolicy)
}


@pytest.mark.parametrize("policy", POLICIES)
def test_cache_keys_are_equal_under_every_policy(policy: str) -> None:
    """For each function, with each policy that Prefect has, alone and with the source added."""
    run = TaskRun(task_key="same", dynamic_key="1", flow_run_id=uuid4())
    for combined in (POLICIES[policy], POLICIES[policy] + cache_policies.TASK_SOURCE):
        for fn in FUNCTIONS:

            def key_of(made: Any) -> str | None:
                context = TaskRunContext.model_construct(task=made, task_run=run, parameters={"x": 1})
                return combined.compute_key(task_ctx=context, inputs={"x": 1}, flow_parameters={"a": 1})  # noqa: B023

            assert key_of(flowml.task(fn)) == key_of(prefect.task(fn))


flowml_task, flowml_flow = flowml.task(typed), flowml.flow(typed)


def test_pickles_hold_the_function_and_the_options() -> None:
    """By cloudpickle: flows and tasks of functions that cannot be imported, and their ``fn``."""
    factor = 3

    def local(x: int) -> int:
        return x * factor

    for fn in (local, lambda x: x * factor):
        for made in (flowml.task(fn, retries=2), flowml.flow(fn, retries=2, name="local")):
            twin = cloudpickle.loads(cloudpickle.dumps(made))
            assert (type(twin), twin.retries, twin.name) == (type(made), 2, made.name)
            assert twin.fn(2) == made.fn(2) == 6
            assert cloudpickle.loads(cloudpickle.dumps(made.fn))(2) == 6
            assert copy.deepcopy(made.fn)(2) == 6


def test_fn_goes_to_a_process_of_ones_own() -> None:
    """As Prefect's: ``fn`` can be pickled where the function it is can be."""

    def outcome(made: Any) -> Any:
        try:
            return pickle.loads(pickle.dumps(made.fn))("  a")
        except pickle.PicklingError as error:
            return type(error)

    assert outcome(flowml.task(dedent)) == outcome(prefect.task(dedent)) == "a"
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # a fork of this process could hang: it has threads
        assert pool.submit(flowml.task(dedent).fn, "  a").result() == "a"


def drawn(flow: Any, *args: Any) -> Any:
    """Draw a flow, or return the error."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            graph = flow.generate_mermaid_graph(*args)
        except Exception as error:  # noqa: BLE001 - which one it is, is what is compared
            graph = (type(error), str(error))
        try:
            drawing = flow.visualize(*args)
        except Exception as error:  # noqa: BLE001 - without the program dot there is an error
            drawing = (type(error), str(error))
    # A library that warns of itself does it once in a process, and so for one of two drawings.
    told = [str(warning.message) for warning in warned if not issubclass(warning.category, DeprecationWarning)]
    return graph, drawing, told


def test_drawings_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``visualize`` and the Mermaid graph show the same, or say the same of what cannot be drawn."""
    monkeypatch.chdir(tmp_path)

    def flows(side: Any) -> list[Any]:
        @side.task(viz_return_value=4)
        def load(x: int) -> int:
            return x

        @side.task
        async def score(x: Any) -> int:
            return x

        @side.task
        def untold(x: int) -> int:
            return x

        @side.flow
        def pipeline(x: int) -> None:
            loaded = load(x)
            load(load(loaded + 1))

        @side.flow
        async def pipeline_async(x: int) -> None:
            await score(load(x))

        @side.flow
        def not_to_be_drawn(x: int) -> int:
            return untold(x) + 1

        @side.flow
        def mapping(x: int) -> None:
            load.map([x, load(x)])

        return [pipeline, pipeline_async, not_to_be_drawn, mapping]

    for theirs, ours in zip(flows(prefect), flows(flowml), strict=True):
        assert drawn(ours, 1) == drawn(theirs, 1)
    assert "load-2" in drawn(flows(flowml)[0], 1)[0]


def test_a_flow_bound_to_infrastructure_is_prefects(prefect_server: None) -> None:
    """What Prefect makes of a flow to run it elsewhere has the same attributes, and can be pickled."""
    bound = [
        bind_flow_to_infrastructure(made, work_pool="pool", worker_cls=ProcessWorker)
        for made in (flowml.flow(typed), prefect.flow(typed))
    ]
    assert seen_of(bound[0]) == seen_of(bound[1])
    assert cloudpickle.loads(cloudpickle.dumps(bound[0])).fn.__name__ == "typed"
    assert seen_of(bound[0].with_options(name="changed")) == seen_of(bound[1].with_options(name="changed"))
