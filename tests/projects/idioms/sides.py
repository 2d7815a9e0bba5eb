"""One scenario of MLflow by hand, with Prefect's decorators or flowml's, in each way of calling tasks."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import mlflow
import prefect
from mlflow import MlflowClient
from mlflow.tracking import fluent
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

import flowml
from flowml import settings
from flowml.store.backend import in_force
from tests.projects.own_runs import masked, own_runs

Way = Literal["called", "submitted", "awaited", "gathered", "processes"]
LIBRARIES = {
    "prefect": (prefect.flow, prefect.task),
    "untracked": (partial(flowml.flow, track=False), partial(flowml.task, track=False)),
    "tracked": (flowml.flow, flowml.task),
}


@dataclass(frozen=True)
class Side:
    """The decorators of one library, a way of calling tasks, and two stores.

    A scenario is written once, with ``await``. Where tasks are called or submitted there is no event loop: each
    ``await`` has its answer at once.

    Attributes:
        library: Whose decorators.
        way: How tasks are called.
        folder: The working folder.
        store: The tracking URI of the store that the scenario's user has.
    """

    library: str
    way: Way
    folder: Path
    store: str

    @property
    def other(self) -> str:
        """The tracking URI of another store, a file."""
        return f"sqlite:///{self.folder}/other.db"

    def task(self, fn: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Make a task of a function, plain or async; the task is awaited."""
        if fn is None:
            return partial(self.task, **options)
        decorate = partial(LIBRARIES[self.library][1], **options)
        pausing = inspect.iscoroutinefunction(fn)
        if self.way in {"awaited", "gathered"}:
            if pausing:
                return decorate(fn)

            async def asynchronous(*args: Any, **kwargs: Any) -> Any:
                return fn(*args, **kwargs)

            return decorate(_named(asynchronous, fn))
        made = decorate(_named(_driving(fn), fn) if pausing else fn)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return made(*args, **kwargs) if self.way == "called" else made.submit(*args, **kwargs).result()

        call.submit = made.submit  # type: ignore[attr-defined]
        return call

    def flow(self, fn: Callable[..., Coroutine[Any, Any, Any]], **options: Any) -> Any:
        """Make a flow of a function that awaits its tasks; the flow is awaited."""
        runner = ProcessPoolTaskRunner if self.way == "processes" else ThreadPoolTaskRunner
        decorate = partial(LIBRARIES[self.library][0], task_runner=runner(max_workers=3), **options)
        if self.way in {"awaited", "gathered"}:
            return decorate(fn)

        made = decorate(_named(_driving(fn), fn))

        async def call(*args: Any, **kwargs: Any) -> Any:
            return made(*args, **kwargs)

        return call

    async def pause(self) -> None:
        """Let other async tasks go on, where there are any."""
        if self.way in {"awaited", "gathered"}:
            await asyncio.sleep(0)

    async def each(self, step: Any, values: Iterable[Any]) -> list[Any]:
        """Call a task for each value: at the same time, where the way of calling has it."""
        if self.way in {"submitted", "processes"}:
            return [future.result() for future in [step.submit(value) for value in values]]
        if self.way == "gathered":
            return list(await asyncio.gather(*(step(value) for value in values)))
        return [await step(value) for value in values]


Scenario = Callable[[Side], Coroutine[Any, Any, Any]]


@dataclass(frozen=True)
class Idiom:
    """A scenario, and how it is compared.

    Attributes:
        scenario: The scenario.
        ways: How its tasks are called.
        as_called: In other threads, and between async tasks, MLflow alone loses the active run: there, compare with
            what calls in turn give.
        in_the_code: No store and no experiment are chosen before; the scenario does it.
        implicit: Runs are made without ``start_run``: what is compared is what the scenario gives, not the runs.
    """

    scenario: Scenario
    ways: tuple[Way, ...] = ("called", "submitted", "awaited")
    as_called: bool = False
    in_the_code: bool = False
    implicit: bool = False

    def expected(self, way: Way) -> Way:
        """Return the way in which Prefect's side shows what is right."""
        return "called" if self.as_called and way in {"submitted", "gathered"} else way


@dataclass
class Seen:
    """What the author sees: what it gave or raised, and the runs that it opened."""

    result: Any
    runs: list[dict[str, Any]] = field(default_factory=list)


IDIOMS: dict[str, Idiom] = {}


def idiom(**how: Any) -> Callable[[Scenario], Scenario]:
    """Add a scenario to those that are compared.

    Args:
        how: Attributes of `Idiom`.
    """

    def add(scenario: Scenario) -> Scenario:
        IDIOMS[scenario.__name__] = replace(Idiom(scenario), **how)
        return scenario

    return add


def observe(one: Idiom, side: Side, empty: Path) -> Seen:
    """Run a scenario on one side, in a fresh folder with fresh stores.

    Args:
        one: The scenario.
        side: Whose decorators it uses.
        empty: A store without runs, to be copied.
    """
    (side.folder / ".flowml").mkdir(parents=True)
    (side.folder / "pyproject.toml").touch()
    for file in ("mlflow.db", "other.db", ".flowml/mlflow.db"):
        shutil.copy(empty, side.folder / file)
    MlflowClient(side.other).create_experiment("somebody else's")  # an experiment's id differs from store to store
    before = Path.cwd()
    os.chdir(side.folder)
    os.environ["MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT"] = "1"  # else autologging starts a second Python to ask
    settings.reload()
    try:
        if not one.in_the_code:
            mlflow.set_tracking_uri(side.store)
            mlflow.set_experiment("the author's")
        try:
            waiting = one.scenario(side)
            result = asyncio.run(waiting) if side.way in {"awaited", "gathered"} else driven(waiting)
        except Exception as error:  # noqa: BLE001 - which one it is, is what is compared
            result = f"{type(error).__name__}: {error}"
        forget()
        runs = [{"store": store} | run for store in (side.store, side.other) for run in own_runs(store)]
        stores = {side.store: "the store", side.other: "the other store"}
        told = [run | {"store": stores[run["store"]]} for run in runs]
        return Seen(masked(result), [] if one.implicit else told)
    finally:
        forget()
        os.chdir(before)
        settings.reload()


def forget() -> None:
    """Let MLflow, and flowml, know nothing of what was said before."""
    while mlflow.active_run():
        mlflow.end_run()
    fluent._active_experiment_id = None
    fluent._last_active_run_id.reset()
    mlflow.set_tracking_uri(None)
    in_force._chosen = None
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "FLOWML_"))]:
        if name != "MLFLOW_DISABLE_TELEMETRY":
            del os.environ[name]


def driven(waiting: Awaitable[Any]) -> Any:
    """Run a coroutine that waits for nothing, without an event loop."""
    try:
        waiting.__await__().send(None)  # type: ignore[attr-defined]
    except StopIteration as end:
        return end.value
    msg = "it waits for an event loop"
    raise AssertionError(msg)


def _driving(fn: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    def synchronous(*args: Any, **kwargs: Any) -> Any:
        return driven(fn(*args, **kwargs))

    return synchronous


def _named(wrapper: Any, fn: Callable[..., Any]) -> Any:
    wrapper.__name__, wrapper.__qualname__, wrapper.__doc__ = fn.__name__, fn.__qualname__, fn.__doc__
    wrapper.__module__, wrapper.__signature__ = fn.__module__, inspect.signature(fn)
    return wrapper
