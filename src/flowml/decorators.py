"""``@flow``, ``@task`` and ``@materialize``: Prefect's decorators, with one keyword more."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

# Bound here: a program may put flowml's own in the place of Prefect's.
from prefect import flow as prefect_flow
from prefect import task as prefect_task
from prefect.assets import materialize as prefect_materialize

from flowml.capture.engine.tracked import Flow, MaterializingTask, Task, adopt
from flowml.options import Track
from flowml.store import stay_offline

if TYPE_CHECKING:
    from pathlib import Path

    from prefect.assets import Asset
    from prefect.runner.storage import RunnerStorage
    from prefect.tasks import TaskOptions
    from typing_extensions import Unpack

    from flowml.capture.engine.tracked import FlowOptions

P = ParamSpec("P")
R = TypeVar("R")

stay_offline()  # before the script's own lines reach out


class FlowDecorator:
    """The decorator `flow`; a class only because Prefect's has a method, ``flow.from_source``."""

    @overload
    def __call__(self, fn: Callable[P, R], /) -> Flow[P, R]: ...
    @overload
    def __call__(
        self, fn: None = None, /, *, track: Track | bool = True, **options: Unpack[FlowOptions]
    ) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
    def __call__(self, fn: Callable[..., Any] | None = None, /, *, track: Track | bool = True, **options: Any) -> Any:
        """Make a function a Prefect flow that is tracked in MLflow.

        Each flow run is one MLflow run. It holds the parameters, what the function returns, and under it one run for
        each task.

        Args:
            fn: The function; sync, async, a generator or an async generator.
            track: False for no tracking, here and in all that is called inside; a `Track` for how.
            **options: All options of ``prefect.flow``.

        Returns:
            A `Flow`, which is a ``prefect.Flow``.

        Raises:
            TypeError: If an option does not exist or has the wrong type.

        Example:
            >>> @flow(retries=2, track=Track(experiment="churn"))
            ... def training(path: str) -> float: ...
        """
        how = Track.parse(track)
        made = prefect_flow(fn, **options)  # checks the options, with a function and without
        return partial(self, track=track, **options) if isinstance(made, partial) else adopt(made, Flow, how)

    def from_source(
        self, source: str | Path | RunnerStorage, entrypoint: str
    ) -> Flow[..., Any] | Coroutine[Any, Any, Flow[..., Any]]:
        """Load a flow from a folder, repository or bucket, as ``prefect.flow.from_source`` does."""
        return cast("Flow[..., Any]", prefect_flow.from_source(source=source, entrypoint=entrypoint))


flow = FlowDecorator()


@overload
def task(fn: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    fn: None = None, /, *, track: Track | bool = True, **options: Unpack[TaskOptions]
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(fn: Callable[..., Any] | None = None, /, *, track: Track | bool = True, **options: Any) -> Any:
    """Make a function a Prefect task that is tracked in MLflow.

    Each attempt at a task run is one MLflow run, under the run of the flow or task that called it. It holds the
    arguments and what the function returns, each by its type.

    Args:
        fn: The function; sync, async, a generator or an async generator.
        track: False for no tracking, here and in all that is called inside; a `Track` for how.
        **options: All options of ``prefect.task``.

    Returns:
        A `Task`, which is a ``prefect.Task``.

    Raises:
        TypeError: If an option does not exist or has the wrong type.

    Example:
        >>> @task(retries=3)
        ... def evaluate(model: Pipeline, test: pd.DataFrame) -> dict[str, float]: ...
    """
    how = Track.parse(track)
    made = prefect_task(fn, **options)  # checks the options, with a function and without
    return partial(task, track=track, **options) if isinstance(made, partial) else adopt(made, Task, how)


def materialize(
    *assets: str | Asset, by: str | None = None, track: Track | bool = True, **options: Unpack[TaskOptions]
) -> Callable[[Callable[P, R]], MaterializingTask[P, R]]:
    """Make a function a Prefect task that materializes assets and is tracked in MLflow.

    Args:
        *assets: The assets that it makes.
        by: The tool that does it, such as ``"dbt"``.
        track: As for `task`.
        **options: All options of ``prefect.task``.

    Returns:
        A decorator that makes a `MaterializingTask`.

    Raises:
        TypeError: If no asset is named, or an option does not exist.

    Example:
        >>> @materialize("s3://lake/features.parquet")
        ... def features(raw: pd.DataFrame) -> pd.DataFrame: ...
    """
    how = Track.parse(track)
    decorate = prefect_materialize(*assets, by=by, **options)

    def decorator(fn: Callable[P, R]) -> MaterializingTask[P, R]:
        return adopt(decorate(fn), MaterializingTask, how)

    return decorator
