"""Prefect's flows and tasks, tracked: the same objects in every respect, but their function opens an MLflow run.

`Tracked` takes the function's place in ``fn``. It is a transparent proxy: to inspection, hashing, comparison and
Prefect's own cache keys it *is* the user's function. Only a call by Prefect's engine makes a difference.
"""

from __future__ import annotations

import copy
import copyreg
import inspect
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar

import prefect
import prefect.flows
import prefect.tasks
import wrapt

from flowml.capture import event_loop, reading, wrap
from flowml.capture.engine import foreign, hooks, leaving, loading, server
from flowml.capture.engine.attempt import call_of, hints_of
from flowml.capture.engine.states import listen
from flowml.capture.guard import Guard
from flowml.capture.session import is_off
from flowml.events import reporting
from flowml.options import ReadModel, Track

if TYPE_CHECKING:
    from prefect.flows import FlowStateHook
    from prefect.results import ResultSerializer, ResultStorage
    from prefect.task_runners import TaskRunner
    from typing_extensions import Self, Unpack

P = ParamSpec("P")
R = TypeVar("R")
_logger = logging.getLogger("prefect.flowml")

listen()
leaving.listen()
foreign.listen()
loading.listen()
reporting.begin()
server.find()  # for what is done with a flow without calling it: serving it, deploying it


class FlowOptions(TypedDict, total=False):
    """The options of Prefect's ``@flow``; Prefect itself names only those of tasks."""

    name: str | None
    version: str | None
    flow_run_name: Callable[[], str] | str | None
    retries: int | None
    retry_delay_seconds: int | float | None
    task_runner: type[TaskRunner[Any]] | TaskRunner[Any] | None
    description: str | None
    timeout_seconds: int | float | None
    validate_parameters: bool
    persist_result: bool | None
    result_storage: ResultStorage | str | None
    result_serializer: ResultSerializer | None
    cache_result_in_memory: bool
    log_prints: bool | None
    on_completion: list[FlowStateHook[..., Any]] | None
    on_failure: list[FlowStateHook[..., Any]] | None
    on_cancellation: list[FlowStateHook[..., Any]] | None
    on_crashed: list[FlowStateHook[..., Any]] | None
    on_running: list[FlowStateHook[..., Any]] | None


class Tracked(wrapt.ObjectProxy):  # type: ignore[type-arg] # older ones cannot be subscripted
    """The user's function, tracked when Prefect's engine calls it."""

    def __init__(self, fn: Callable[..., Any], track: Track | None) -> None:
        super().__init__(fn)
        self._self_track = track
        self._self_hints: Mapping[str, Any] | None = None
        self._self_reads: Mapping[str, ReadModel] = {}

    def __copy__(self) -> Tracked:
        return Tracked(self.__wrapped__, self._self_track)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tracked:
        return Tracked(copy.deepcopy(self.__wrapped__, memo), self._self_track)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle as the function, which is what cloudpickle makes of it too; a flow or task proxies it again."""
        return _function_of, (self.__wrapped__,)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function; as a tracked call if this is Prefect's attempt at it."""
        fn, track = self.__wrapped__, self._self_track
        call = None
        with Guard("see whose call it is", _logger, raising=False):
            if self._self_hints is None:
                self._self_hints = hints_of(fn)
                self._self_reads = reading.wanted(self._self_hints)
            if not (is_off() or (track is not None and track.run == "skip")):
                call = call_of(self, track, self._self_hints)
        if self._self_reads:
            return reading.run(fn, self._self_reads, (args, kwargs), call)
        return fn(*args, **kwargs) if call is None else wrap.run(call, fn, args, kwargs)


class _Tracking:
    """What flowml adds to a flow or task: the proxy round its function, kept through copies, pickles and options."""

    fn: Any
    track: Track | None

    if not TYPE_CHECKING:  # to its callers it is Prefect's own

        def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
            """Call it as Prefect does; on the local server of the project, if there is one."""
            server.find()
            if self.isasync:
                event_loop.load_ahead(self.track)
            with nullcontext() if self.isasync else loading.loaded(self.track):
                if is_off():
                    return super().__call__(*args, **kwargs)
                server.expect_temporary()
                explained = server.Explained()
                with explained:
                    returned = super().__call__(*args, **kwargs)
                return explained.awaited(returned) if inspect.iscoroutine(returned) else returned

    def _start(self, track: Track | None) -> None:
        self.track = track
        self.fn = Tracked(_function_of(self.fn), track)
        if track and not isinstance(track.inputs, bool):
            _check_names("inputs", track.inputs, self.fn)
        if track:
            _check_names("experiment", track.experiment_fields(), self.fn)
        if track and isinstance(self, Flow):
            hooks.attach(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "fn": _function_of(self.fn)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start(self.track)

    def _adopt(self, changed: Any, *, track: Track | bool | None) -> Self:
        return adopt(changed, type(self), self.track if track is None else Track.parse(track))


class Flow(_Tracking, prefect.Flow[P, R]):
    """A Prefect flow that is tracked in MLflow; made by `flowml.flow`.

    Attributes:
        track: How it is tracked; None if it is not.
    """

    fn: Callable[P, R]

    def __init__(self, fn: Callable[P, R], *args: Any, track: Track | bool = True, **options: Any) -> None:
        super().__init__(fn, *args, **options)
        self._start(Track.parse(track))

    if TYPE_CHECKING:

        def __get__(self, instance: Any, owner: Any) -> Flow[P, R]: ...

    def with_options(  # type: ignore[override]
        self, *, track: Track | bool | None = None, **options: Unpack[FlowOptions]
    ) -> Flow[P, R]:
        """Return a copy of this flow with some options changed, `track` among them."""
        return self._adopt(super().with_options(**options), track=track)  # type: ignore[arg-type]


class Task(_Tracking, prefect.Task[P, R]):
    """A Prefect task that is tracked in MLflow; made by `flowml.task`.

    Attributes:
        track: How it is tracked; None if it is not.
    """

    fn: Callable[P, R]

    def __init__(self, fn: Callable[P, R], *args: Any, track: Track | bool = True, **options: Any) -> None:
        super().__init__(fn, *args, **options)
        self._start(Track.parse(track))

    if TYPE_CHECKING:

        def __get__(self, instance: Any, owner: Any) -> Task[P, R]: ...

    def with_options(  # type: ignore[override]
        self, *, track: Track | bool | None = None, **options: Unpack[prefect.tasks.TaskOptions]
    ) -> Task[P, R]:
        """Return a copy of this task with some options changed, `track` among them."""
        changed = super().with_options(**options)  # type: ignore[misc,arg-type]
        return self._adopt(changed, track=track)


class MaterializingTask(_Tracking, prefect.tasks.MaterializingTask[P, R]):
    """A Prefect task that materializes assets and is tracked in MLflow; made by `flowml.materialize`."""

    def __init__(self, fn: Callable[P, R], *, track: Track | bool = True, **options: Any) -> None:
        super().__init__(fn, **options)
        self._start(Track.parse(track))

    def with_options(self, *args: Any, track: Track | bool | None = None, **options: Any) -> MaterializingTask[P, R]:
        """Return a copy of this task with some options changed, `track` among them."""
        return self._adopt(super().with_options(*args, **options), track=track)


T = TypeVar("T", bound=_Tracking)


def adopt(made: Any, kind: type[T], track: Track | None) -> T:
    """Return what Prefect made as flowml's subclass of it.

    Prefect's own decorators and ``with_options`` make the object, so that nothing of what they do, now or later, has to
    be repeated here.
    """
    adopted = kind.__new__(kind)
    adopted.__dict__.update(made.__dict__)
    adopted._start(track)  # noqa: SLF001 - of this module's own class
    return adopted


def _reduce_bound(flow: Any) -> Any:
    """Pickle a flow that Prefect bound to infrastructure: its class is Prefect's own, and keeps no proxy by itself."""
    if not isinstance(flow.fn, Tracked):
        return flow.__reduce_ex__(2)
    track = flow.fn._self_track  # noqa: SLF001 - of this module's own class
    return _bound, (type(flow), {**flow.__dict__, "fn": _function_of(flow.fn)}, track)


def _bound(kind: type[prefect.Flow[..., Any]], state: dict[str, Any], track: Track | None) -> Any:
    flow = object.__new__(kind)
    flow.__dict__.update(state, fn=Tracked(state["fn"], track))
    return flow


if hasattr(prefect.flows, "InfrastructureBoundFlow"):
    copyreg.pickle(prefect.flows.InfrastructureBoundFlow, _reduce_bound)


def _function_of(fn: Any) -> Any:
    return fn.__wrapped__ if isinstance(fn, Tracked) else fn


def _check_names(option: str, wanted: Collection[str], fn: Callable[..., Any]) -> None:
    arguments = inspect.signature(fn).parameters
    unknown = [name for name in wanted if name not in arguments]
    if unknown:
        msg = (
            f"Track({option}=...) names {unknown[0]!r}, which is no argument of {fn.__name__}: {', '.join(arguments)}."
        )
        raise ValueError(msg)
