"""Takes over the six functions of MLflow's fluent API that read or change which run is active.

They are taken over in place: the functions stay the same objects, so it does not matter how they were imported
(``from mlflow import start_run``), and what they do outside flowml's sessions is MLflow's own. What they answer inside
is decided in `active`; what they raise is MLflow's.

`install` checks that MLflow's private names are as expected.
"""

from __future__ import annotations

import logging
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flowml import records
from flowml.patches import in_place
from flowml.patches.mlflow import ACTIVE_RUN_STACK, GET_EXPERIMENT_ID, GET_OR_START_RUN, LAST_ACTIVE_RUN_ID
from flowml.store.backend.mlflow_state import (
    ELSEWHERE,
    experiment_named,
    ignore_inherited_run_id,
    note_chosen_experiment,
    own_stack,
    tracking_uri,
)
from flowml.store.by_hand import active, observed, spans
from flowml.store.by_hand.context_stack import Runs, context_stack, is_given, stack_of
from flowml.store.by_hand.opened import opened

if TYPE_CHECKING:
    from mlflow import ActiveRun
    from mlflow.entities import Experiment

    from flowml.store.by_hand.opened import Opened, Stack

_PARENT = "mlflow.parentRunId"


@contextmanager
def activated(session: active.Here) -> Iterator[None]:
    """Make a session's runs those that ``mlflow.*`` sees, in this context only."""
    if not install():
        with _pushed(session.own):
            yield
        return
    with active.activated(session):
        yield


def opened_outside() -> Iterator[Opened]:
    """Give the runs that the user has open in this thread outside all sessions, outermost first."""
    runs = own_stack()
    for run in runs:
        yield opened(run, tracking_uri(), runs)


def users_run() -> ActiveRun | None:
    """Return the run that the user has active outside any flowml session."""
    ignore_inherited_run_id()
    runs = [] if active.here() else own_stack()
    return runs[-1] if runs else None


def end_what_was_left(stack: Stack, status: records.Status) -> None:
    """End the runs that the user's code left open below an outermost call, as MLflow does when a script ends."""
    left = stack.leave()
    while left:
        each = left.pop()
        if each.is_open:
            each.end()
            _end(each.run, each.uri, status)


def _end(run: ActiveRun, uri: str, status: records.Status) -> None:
    from mlflow import MlflowClient

    with suppress(Exception):  # of MLflow: the user may have deleted it, or ended it by a client
        if uri == tracking_uri():
            with stack_of([run]):
                in_place.original("end_run")(status)  # which stops its system metrics too
        else:
            MlflowClient(tracking_uri=uri).set_terminated(run.info.run_id, status)


@lru_cache(maxsize=1)
def install() -> bool:
    """Take over MLflow's functions; False, and one warning, if MLflow is not as expected."""
    from mlflow.tracking import fluent

    if not _is_as_expected():
        logging.getLogger("prefect.flowml").warning(
            "flowml: this version of MLflow keeps its active run in a way flowml does not know. "
            "Plain mlflow.* calls go to the task's run in sync tasks only; flowml.log() works everywhere."
        )
        return False
    if in_place.is_taken_over("start_run"):
        return True
    observed.install()
    spans.install()
    for name, ours in _TAKEN_OVER.items():
        in_place.take_over(getattr(fluent, name), ours)
    ACTIVE_RUN_STACK.replace(context_stack(ACTIVE_RUN_STACK.get()))
    return True


def open_in_place_of(deleted: ActiveRun) -> ActiveRun:
    """Open a run as MLflow alone would, in the experiment of one that was deleted, or in MLflow's if that was too.

    Raises:
        Exception: What MLflow raises.
    """
    from mlflow import MlflowClient

    options = {}
    with suppress(Exception):  # of MLflow: then it is MLflow's to choose
        experiment = MlflowClient().get_experiment(deleted.info.experiment_id)
        options = {"experiment_id": experiment.experiment_id} if experiment.lifecycle_stage == "active" else {}
    with stack_of([]):
        run: ActiveRun = in_place.original("start_run")(**options)
    return run


def _set_experiment(original: Callable[..., Experiment], *args: Any, **kwargs: Any) -> Experiment:
    """Note which experiment was chosen."""
    session = active.here()
    with session.choosing_experiment() if session else nullcontext():
        experiment = original(*args, **kwargs)
        note_chosen_experiment(str(experiment.experiment_id))
    if session:
        session.chose_experiment(str(experiment.name), str(experiment.experiment_id))
    return experiment


def _start_run(original: Callable[..., ActiveRun], *args: Any, **kwargs: Any) -> ActiveRun:
    """Open a run: under one that is open in this thread as MLflow does, else under the session's own run."""
    if active.here() is None or is_given():
        return original(*args, **kwargs)
    ignore_inherited_run_id()
    try:
        arguments = in_place.signature(original).bind_partial(*args, **kwargs).arguments
    except TypeError:
        return original(*args, **kwargs)  # which says what is wrong
    if (own := _joined(arguments)) is not None:
        return own
    # A nested run goes under the run around it in threads too; what MLflow refuses, it refuses in the same thread only.
    is_nested = arguments.get("nested") and not arguments.get("parent_run_id")
    opened = active.visible() if is_nested else active.visible_to_mlflow()
    with stack_of(Runs(opened)):
        if opened or arguments.get("run_id") or arguments.get("parent_run_id"):
            return original(**arguments)
        is_apart = _lead_upwards(arguments)
        run = original(**arguments)
    if is_apart and (session := active.here()):
        session.opened_apart(run)
    return run


def _joined(arguments: dict[str, Any]) -> ActiveRun | None:
    """Give the run that a process has joined, unless another is asked for: a script opens no second one for it."""
    if arguments.get("nested") or arguments.get("parent_run_id") or active.visible():
        return None
    own = active.joined(arguments.get("run_id"))
    if own is not None and (tags := arguments.get("tags")):
        from mlflow import MlflowClient
        from mlflow.entities import RunTag

        MlflowClient().log_batch(own.info.run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])
    return own


def _lead_upwards(arguments: dict[str, Any]) -> bool:
    """Say in a new run's tags which run it is under; tell whether that is in another experiment."""
    try:
        above = active.run_above()
        own_experiment = arguments.get("experiment_id") or _experiment_here()
    except Exception:  # noqa: BLE001 - of MLflow: what is wrong comes from its own call, if it is asked for
        return False
    if above is None:
        return False
    is_near = str(own_experiment) == str(above.info.experiment_id)
    arguments["experiment_id"] = own_experiment
    arguments["tags"] = {_PARENT if is_near else ELSEWHERE: above.info.run_id, **(arguments.get("tags") or {})}
    return not is_near


def _experiment_here() -> str:
    """Return the experiment of a new run: what was chosen inside the flow, else the flow's.

    What was chosen before the flow, or in the environment of a worker, may be less than the flow's ``Track`` says.
    """
    session, own, choose_experiment = active.here(), active.own_run(), GET_EXPERIMENT_ID.get()
    if choose_experiment and (session is None or own is None or session.by_hand.experiment_named != experiment_named()):
        return str(choose_experiment())
    if own is None:
        msg = "MLflow does not say which experiment is active"
        raise RuntimeError(msg)
    return str(own.info.experiment_id)


def _end_run(original: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """End the innermost run of the user's; the session's own run stays."""
    if active.here() is None or is_given():
        return original(*args, **kwargs)
    if top := active.to_end():
        with stack_of(Runs([top])):
            return original(*args, **kwargs)
    return None


def _active_run(original: Callable[..., ActiveRun | None]) -> ActiveRun | None:
    if active.here() is None or is_given():
        return original()
    return active.current_run(ended_last())


def _last_active_run(original: Callable[..., Any]) -> Any:
    """Give the run that is active, or that was ended last; the session's own only if it was used since."""
    if active.here() is None or active.visible():
        return original()
    ended = ended_last()
    if active.has_ended_since(ended):
        with stack_of([]):
            return original()
    return active.current_run(ended)


def ended_last() -> str | None:
    """Return the id of the run that was ended last in this thread."""
    last = LAST_ACTIVE_RUN_ID.get()
    run_id: str | None = last.get() if last else None
    return run_id


def _get_or_start_run(original: Callable[..., ActiveRun]) -> ActiveRun:
    """Give the run that something is logged to; MLflow opens one, as without flowml, where there is none for it."""
    if active.here() is None:
        return original()
    return active.run_to_log_to(ended_last()) or original()


_TAKEN_OVER: dict[str, Callable[..., Any]] = {
    "set_experiment": _set_experiment,
    "start_run": _start_run,
    "end_run": _end_run,
    "active_run": _active_run,
    "last_active_run": _last_active_run,
    GET_OR_START_RUN.name: _get_or_start_run,
}


def _is_as_expected() -> bool:
    try:
        from mlflow.tracking import fluent
        from mlflow.utils.thread_utils import ThreadLocalVariable

        stack = ACTIVE_RUN_STACK.get()
        functions = [getattr(fluent, name) for name in _TAKEN_OVER]
    except (ImportError, AttributeError):
        return False
    is_stack = isinstance(stack, ThreadLocalVariable) and stack.get() is stack.get()
    return is_stack and all(
        isinstance(each, types.FunctionType) and not each.__code__.co_freevars for each in functions
    )


@contextmanager
def _pushed(own: Callable[[], ActiveRun | None]) -> Iterator[None]:
    """Push a run to the thread's own stack: right in sync bodies, the only ones where it is safe."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        yield
        return
    run, runs = own(), own_stack()
    if run is None:
        yield
        return
    runs.append(run)
    try:
        yield
    finally:
        if run in runs:
            runs.remove(run)
