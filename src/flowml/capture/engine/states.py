"""Hears of each state that Prefect's engines give a run: how an attempt ended is theirs to say, not its body's.

A body that returned may still fail: its result cannot be kept, it returned a failed state, it took too long. A body
that was never called has an end too: its result was cached, its inputs failed. Prefect's hooks do not tell of all of
these, and log two lines each; so the methods in `_WRAPPERS` are wrapped: `set_state` of its four engines, and those
that pause, cancel, roll back and finish. Where Prefect should not have one, what it would tell is not known.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.context import TaskRunContext
from prefect.exceptions import Abort, Pause

from flowml import formats, records, store
from flowml.capture import event_loop
from flowml.capture.engine import foreign, hooks, loading
from flowml.capture.engine.attempt import Beginning, call_of_flow, call_of_task
from flowml.capture.guard import Guard
from flowml.capture.session import Session, is_off
from flowml.capture.verdict import Attempt, RunWatch, Verdict, run_watches
from flowml.patches import wrapped

P = ParamSpec("P")
R = TypeVar("R")

_logger = logging.getLogger("prefect.flowml")
_STATUS: dict[StateType, records.Status] = {
    StateType.COMPLETED: "FINISHED",
    StateType.FAILED: "FAILED",
    StateType.CRASHED: "FAILED",
    StateType.CANCELLED: "KILLED",
}
_RETRIED = {"Retrying", "AwaitingRetry"}
_NOT_READY = "NotReady"


def _safely(hear: Callable[P, R]) -> Callable[P, R | None]:
    """Keep what goes wrong in here from Prefect's engine."""

    @wraps(hear)
    def heard(*args: P.args, **kwargs: P.kwargs) -> R | None:
        with Guard("hear how a run ended", _logger, raising=False):
            return hear(*args, **kwargs)
        return None

    return heard


@_safely
def _heard(engine: Any, state: State[Any], force: bool = False) -> Attempt | None:  # noqa: ARG001, FBT001, FBT002 - set_state's
    """Take the verdict in a run's new state; return the session to settle, if the run is over."""
    run, watch = _run_of(engine), _watch_of(engine)
    verdict = _verdict_in(run.state, is_flow=_is_flow(engine))
    if verdict and verdict.retried and _is_timed(engine):
        kind = "Flow" if _is_flow(engine) else "Task"
        error = TimeoutError(f"{kind} run exceeded timeout of {_timeout_of(engine)} second(s)")
        verdict = replace(verdict, error=error)
    session = _concluded(engine, watch, verdict, state) if verdict else None
    if run.state.is_running():
        watch.began = _milliseconds(run.state)
    return session


def _concluded(engine: Any, watch: RunWatch, verdict: Verdict, proposed: State[Any]) -> Attempt | None:
    run, is_flow = _run_of(engine), _is_flow(engine)
    attempt = run.run_count - (not is_flow and run.state.is_running())  # a task run counts the next one already
    called = watch.session is not None and watch.session.number == attempt
    if not called and (proposed.is_final() or proposed.name == _NOT_READY or not is_flow):
        watch.session = _without_a_body(engine, attempt, watch.began or verdict.ended)
    if is_flow and not verdict.retried and getattr(engine.flow, "track", None):
        hooks.attach(engine.flow)
    if verdict.cached and verdict.result_key and watch.session:
        _note_reused(run.state, verdict.result_key)
    return _conclude(watch, verdict)


@_safely
def _note_reused(state: State[Any], key: str) -> None:
    """Let the models be known again that a cache gave back."""
    store.note_reused(getattr(state.data, "result", None), key)


@_safely
def _unheard(
    engine: Any,
    error: BaseException,
    verdict_in_api: Verdict | None,
    state: State[Any],
    force: bool = False,  # noqa: ARG001, FBT001, FBT002 - set_state's
) -> Attempt | None:
    """Conclude a run whose end Prefect's server did not take: it is gone, or has another in mind, which it told."""
    if not state.is_final():
        return None
    verdict = Verdict("FAILED", formats.now(), "Unknown", error)
    if isinstance(error, Pause):
        verdict = Verdict(None if _is_flow(engine) else "KILLED", formats.now(), "Suspended")
    if isinstance(error, Abort):
        verdict = verdict_in_api or Verdict("KILLED", formats.now(), "Aborted", error)
    return _conclude(_watch_of(engine), verdict)


def _verdict_in_api(engine: Any, error: BaseException) -> Verdict | None:
    """Ask the server how a flow run ended whose end it refused to be told: it was cancelled meanwhile, as a rule."""
    if not isinstance(error, Abort):
        return None
    with suppress(Exception), get_client(sync_client=True) as client:  # it may be gone by now
        state = client.read_flow_run(engine.flow_run.id).state if _is_flow(engine) else None
        return _verdict_in(state, is_flow=True) if state and state.is_final() else None
    return None


@_safely
def _cancelled(engine: Any) -> Attempt | None:
    return _conclude(_watch_of(engine), Verdict("KILLED", formats.now(), "Cancelled"))


def _conclude(watch: RunWatch, verdict: Verdict) -> Attempt | None:
    session = watch.session
    if session is None or (verdict.retried and watch.retried is session):
        return None  # a delayed retry is told twice: when it is decided, and when it begins
    watch.retried = session if verdict.retried else None
    session.conclude(verdict)
    return None if verdict.retried else session


def _settle(engine: Any, session: Attempt | None) -> None:
    if session and not _is_timed(engine):
        session.settle(raising=False)


async def _settle_async(engine: Any, session: Attempt | None) -> None:
    if session and session.is_outermost and not _is_timed(engine):
        await asyncio.to_thread(session.settle, raising=False)  # the event loop goes on meanwhile


def _is_timed(engine: Any) -> bool:
    """Tell whether Prefect's clock still runs, which waiting for MLflow is not to stop: `_finish` waits then."""
    return _timeout_of(engine) is not None


def _timeout_of(engine: Any) -> float | None:
    seconds: float | None = (engine.flow if _is_flow(engine) else engine.task).timeout_seconds
    return seconds


@contextmanager
def _run_context(wrapped: Any, engine: Any, args: Any, kwargs: Any) -> Iterator[Any]:
    """Log what the body returned when Prefect has its end, and its clock has stopped; hooks come later."""
    watch = _watch_of(engine)
    watch.completes = True
    try:
        with wrapped(*args, **kwargs) as entered:
            yield entered
    finally:
        if session := _completed(watch):
            session.complete()
    if session and _run_of(engine).state.is_final():
        _settle(engine, session)


@asynccontextmanager
async def _run_context_async(wrapped: Any, engine: Any, args: Any, kwargs: Any) -> AsyncIterator[Any]:
    """Do the same, and wait for MLflow where there is a clock, while the event loop goes on."""
    watch = _watch_of(engine)
    watch.completes = True
    try:
        async with wrapped(*args, **kwargs) as entered:
            yield entered
    except BaseException:
        if session := _completed(watch):
            session.complete()  # here and now: what stops the body would stop waiting for a thread
        raise
    if session := _completed(watch):
        await event_loop.complete(session)
    if not _run_of(engine).state.is_final():
        return
    if _is_timed(engine):
        await asyncio.to_thread(_finished, engine)
    elif session:
        await _settle_async(engine, session)


def _completed(watch: RunWatch) -> Session | None:
    """Return the attempt that has something left to log, where its engine has done with it."""
    watch.completes = False
    return watch.session if isinstance(watch.session, Session) and watch.session.deferred else None


def _finish(wrapped: Any, engine: Any, args: Any, kwargs: Any) -> Any:
    """Note that the engine is done; wait for MLflow then, where it could not be waited for before."""
    _finished(engine)
    return wrapped(*args, **kwargs)


@contextmanager
def _start(wrapped: Any, engine: Any, args: Any, kwargs: Any) -> Iterator[None]:
    """Do the same for a flow, whose engine is done when what its `start` gives is left."""
    try:
        with loading.loaded(getattr(engine.flow, "track", None)), wrapped(*args, **kwargs):
            yield
    finally:
        _finished(engine)


@asynccontextmanager
async def _start_async(wrapped: Any, engine: Any, args: Any, kwargs: Any) -> AsyncIterator[None]:
    try:
        async with wrapped(*args, **kwargs):
            yield
    finally:
        await asyncio.to_thread(_finished, engine)


@_safely
def _finished(engine: Any) -> None:
    if _run_of(engine) is None:
        return
    watch = _watch_of(engine)
    watch.is_over = True
    waits = _is_timed(engine) or watch.retried is not None  # Prefect 3.8 leaves a retry of a flow to others
    if waits and watch.session and watch.settled is not watch.session:
        watch.session.settle(raising=False)
        watch.settled = watch.session


def _is_flow(engine: Any) -> bool:
    return hasattr(engine, "flow")


def _run_of(engine: Any) -> Any:
    return engine.flow_run if _is_flow(engine) else engine.task_run


def _watch_of(engine: Any) -> RunWatch:
    """Return the engine's own watch; kept on the engine, to go with it."""
    watch: RunWatch | None = vars(engine).get("flowml_watch")
    if watch is None:
        watch = vars(engine)["flowml_watch"] = run_watches[_run_of(engine).id] = RunWatch()
        if _is_flow(engine) and getattr(engine.flow, "track", None):
            hooks.detach(engine.flow)
    return watch


def _verdict_in(state: State[Any], *, is_flow: bool) -> Verdict | None:
    ended, name = _milliseconds(state), state.name or state.type.value.title()
    if name in _RETRIED:
        return Verdict(None if is_flow else "FAILED", ended, name, retried=True)
    if name == _NOT_READY:
        return Verdict("KILLED", ended, name, error=_error_in(state))
    if not state.is_final():
        return None
    error = _error_in(state) if state.is_failed() or state.is_crashed() else None
    return Verdict(
        _STATUS[state.type], ended, name, error, result_key=_result_key(state), cached=not is_flow and name == "Cached"
    )


def _milliseconds(state: State[Any]) -> int:
    return round(state.timestamp.timestamp() * 1000)


def _error_in(state: State[Any]) -> BaseException:
    found = getattr(state.data, "result", state.data)  # Prefect wraps what it may keep
    if isinstance(found, TimeoutError) and type(found).__module__.startswith("prefect."):
        return TimeoutError(state.message)  # its own says nothing of a task or flow
    return found if isinstance(found, BaseException) else RuntimeError(state.message or state.name)


def _result_key(state: State[Any]) -> str | None:
    """Return where a task's result is kept; also where it is only going to be."""
    context = TaskRunContext.get()
    kept = getattr(state.data, "metadata", None)
    return getattr(kept, "storage_key", None) if context and context.persist_result else None


def _without_a_body(engine: Any, attempt: int, began: int) -> Attempt | None:
    """Open the run of a call that ends without its body being called."""
    of = engine.flow if _is_flow(engine) else engine.task
    track = foreign.track_of(of, _run_of(engine).id)
    if track is None or track.run == "skip" or is_off():
        return None
    beginning = Beginning(attempt, began, {}, track, {})
    describe = call_of_flow if _is_flow(engine) else call_of_task
    return Session.begin(describe(of, _run_of(engine), beginning), inputs=False)


def _set_state(wrapped: Any, engine: Any, args: Any, kwargs: Any) -> Any:
    before = _run_of(engine).state
    try:
        state = wrapped(*args, **kwargs)
    except BaseException as error:
        _settle(engine, _unheard(engine, error, _verdict_in_api(engine, error), *args, **kwargs))
        raise
    if state is not before:  # else the engine keeps one that was heard already
        _settle(engine, _heard(engine, *args, **kwargs))
    return state


async def _set_state_async(wrapped: Any, engine: Any, args: Any, kwargs: Any) -> Any:
    before = _run_of(engine).state
    try:
        state = await wrapped(*args, **kwargs)
    except BaseException as error:
        verdict_in_api = await asyncio.to_thread(_verdict_in_api, engine, error) if isinstance(error, Abort) else None
        await _settle_async(engine, _unheard(engine, error, verdict_in_api, *args, **kwargs))
        raise
    if state is not before:  # else the engine keeps one that was heard already
        await _settle_async(engine, _heard(engine, *args, **kwargs))
    return state


def _cancel(wrapped: Any, engine: Any, args: Any, kwargs: Any) -> Any:
    """Hear of a cancellation whose states Prefect's runner sets, from its own process."""
    wrapped(*args, **kwargs)
    _settle(engine, _cancelled(engine))


async def _cancel_async(wrapped: Any, engine: Any, args: Any, kwargs: Any) -> Any:
    await wrapped(*args, **kwargs)
    await _settle_async(engine, _cancelled(engine))


def _pause(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    state = wrapped(*args, **kwargs)
    _paused(state, kwargs.get("flow_run_id"))
    return state


async def _pause_async(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    state = await wrapped(*args, **kwargs)
    _paused(state, kwargs.get("flow_run_id"))
    return state


@_safely
def _paused(state: State[Any], flow_run_id: UUID | None) -> None:
    """Tag the run of a flow that waits inside its body until it is resumed."""
    watch = run_watches.get(flow_run_id) if flow_run_id else None
    if watch and watch.session and state.is_paused():
        watch.session.tell({"prefect.state": state.name or "Paused"})


def _roll_back(wrapped: Any, engine: Any, args: Any, kwargs: Any) -> Any:
    _rolled_back(engine)
    return wrapped(*args, **kwargs)


@_safely
def _rolled_back(engine: Any) -> None:
    watch = _watch_of(engine)
    if watch.session:
        watch.session.tell({"flowml.rolled_back": "true", "prefect.state": "RolledBack"})


_WRAPPERS: dict[str, dict[str, Any]] = {
    "prefect.task_engine": {
        "SyncTaskRunEngine.set_state": _set_state,
        "SyncTaskRunEngine.run_context": _run_context,
        "AsyncTaskRunEngine.set_state": _set_state_async,
        "AsyncTaskRunEngine.run_context": _run_context_async,
        "BaseTaskRunEngine.handle_rollback": _roll_back,
        "BaseTaskRunEngine.log_finished_message": _finish,
    },
    "prefect.flow_engine": {
        "FlowRunEngine.set_state": _set_state,
        "AsyncFlowRunEngine.set_state": _set_state_async,
        "FlowRunEngine.handle_cancellation": _cancel,
        "AsyncFlowRunEngine.handle_cancellation": _cancel_async,
        "FlowRunEngine.start": _start,
        "AsyncFlowRunEngine.start": _start_async,
    },
    "prefect.flow_runs": {"propose_state_sync": _pause, "propose_state": _pause_async},
}


@cache
def listen() -> None:
    """Wrap the engines' methods: now, or when Prefect loads its engines."""
    wrapped.wrap(_WRAPPERS, use="hears how runs end", without="how some runs end is not heard")
