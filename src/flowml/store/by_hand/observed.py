"""Sees what the user's code logs by MLflow's client, which all of ``mlflow.log_*`` go through.

What is seen is not logged again by flowml. A run of flowml's that the user deleted in the middle of its call does not
fail the user's code: what is logged to it goes where MLflow alone would have it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from flowml.patches import in_place
from flowml.patches.mlflow import VALIDATE_PARAM
from flowml.store.by_hand import active
from flowml.store.models import identity

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    from flowml.store.by_hand.active import Here

Do: TypeAlias = Callable[..., Any]
_WRITES = ("set_tag", "delete_tag", "log_inputs", "log_outputs")  # those that name a run, and log no number


def install() -> None:
    """Wrap the methods of MLflow's client, once for the process."""
    from mlflow import MlflowClient
    from mlflow.models import Model

    wrappers: dict[str, Do] = {
        "log_metric": _log_metric,
        "log_param": _log_param,
        "log_batch": _log_batch,
        "get_run": _get_run,
    }
    for name, wrapper in wrappers.items():
        _wrap(MlflowClient, name, wrapper)
    for name in _WRITES:
        _wrap(MlflowClient, name, _write)
    original = Model.log.__func__

    @functools.wraps(original)
    def log(cls: type[Model], *args: Any, **kwargs: Any) -> Any:
        answer = original(cls, *args, **kwargs)
        if active.here():
            _note_model(kwargs, answer)
        return answer

    Model.log = classmethod(log)  # type: ignore[method-assign]


def _wrap(kind: type[MlflowClient], name: str, wrapper: Callable[..., Any]) -> None:
    original = getattr(kind, name)

    @functools.wraps(original)
    def wrapped(client: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        session = active.here()
        if session is None or not _fits(original, client, *args, **kwargs):
            return original(client, *args, **kwargs)
        return wrapper(session, functools.partial(original, client), *args, **kwargs)

    setattr(kind, name, wrapped)


def _fits(function: Do, *args: Any, **kwargs: Any) -> bool:
    """Tell whether a function can be called so; if not, it is to say itself what is wrong."""
    try:
        in_place.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _get_run(session: Here, do: Do, run_id: str) -> Any:
    """Show the parameters that are kept for the end of a flow's attempt: the user's code has logged them."""
    run = do(run_id)
    if session.held is not None and run_id == session.run_id():
        run.data.params.update(session.held.values())
    return run


def _log_metric(session: Here, do: Do, run_id: str, key: str, value: Any, *args: Any, **more: Any) -> Any:
    run_id, answer = _done(session, lambda to: do(to, key, value, *args, **more), run_id)
    session.logged.note(_numbers([(key, value)]), [], session.by_hand, run_id)
    return answer


def _log_param(session: Here, do: Do, run_id: str, key: str, value: Any, *args: Any, **more: Any) -> Any:
    if _is_held(session, do, run_id, key, value):
        return _done_already(args, more) or value
    run_id, answer = _done(session, lambda to: do(to, key, value, *args, **more), run_id)
    session.logged.note([], [(key, str(value))], session.by_hand, run_id)
    return answer


def _log_batch(  # noqa: PLR0913, PLR0917 - MLflow's own signature
    session: Here,
    do: Do,
    run_id: str,
    metrics: Iterable[Metric] = (),
    params: Iterable[Param] = (),
    tags: Iterable[Any] = (),
    *args: Any,
    **more: Any,
) -> Any:
    metrics, tags = list(metrics or ()), list(tags or ())
    all_params = list(params or ())
    one = functools.partial(_log_one, do)
    sent = [param for param in all_params if not _is_held(session, one, run_id, param.key, param.value)]
    if all_params and not (sent or metrics or tags):
        return _done_already(args, more)
    run_id, answer = _done(session, lambda to: do(to, metrics, sent, tags, *args, **more), run_id)
    numbers = _numbers((metric.key, metric.value) for metric in metrics)
    session.logged.note(numbers, [(param.key, str(param.value)) for param in sent], session.by_hand, run_id)
    return answer


def _done_already(args: tuple[Any, ...], more: dict[str, Any]) -> Any:
    """Return what can be waited for, where the caller wants that."""
    from mlflow.utils.async_logging.run_operations import RunOperations

    return RunOperations([]) if False in (*args, more.get("synchronous")) else None


def _log_one(do: Do, run_id: str, key: str, value: str) -> None:
    from mlflow.entities import Param

    do(run_id, params=[Param(key, value)])


def _write(session: Here, do: Do, run_id: str, *args: Any, **more: Any) -> Any:
    return _done(session, lambda to: do(to, *args, **more), run_id)[1]


def _done(session: Here, do: Callable[[str], Any], run_id: str) -> tuple[str, Any]:
    """Do it, to a run of MLflow's own choice if the session's own was deleted; return to which, and the answer."""
    from mlflow.exceptions import MlflowException

    try:
        return run_id, do(run_id)
    except MlflowException:
        if run_id != session.run_id() or not session.lost():
            raise
    session.by_hand.say_once("deleted", _DELETED, session.say)
    other = session.other_run()
    return other, do(other)


_DELETED = (
    "flowml: the run of this call was deleted in MLflow while it works. What flowml would log to it is left out; "
    "your own mlflow.* calls go to a run that MLflow opens for them."
)


def _is_held(session: Here, do: Do, run_id: str, key: str, value: Any) -> bool:
    """Keep a parameter of a flow that may be retried; one that changes within an attempt is MLflow's to refuse."""
    if session.held is None or run_id != session.run_id():
        return False
    if validate := VALIDATE_PARAM.get():
        validate(key, str(value))
    if session.held.take(key, str(value)):
        session.logged.own_params[key] = str(value)
        return True
    before = session.held.give(key)
    if before is not None:
        do(run_id, key, before)
    return False


def _numbers(metrics: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, float]]:
    for key, value in metrics:
        try:
            yield key, float(value)
        except (TypeError, ValueError):  # MLflow takes more than float does
            continue


def _note_model(arguments: dict[str, Any], answer: Any) -> None:
    """Remember which object was logged as which model; its argument is ``sk_model`` or the like."""
    from flowml.store.backend.mlflow_state import absolute, tracking_uri

    model_id = getattr(answer, "model_id", None)
    for name, value in arguments.items():
        if model_id and name.endswith("model") and not isinstance(value, str):
            identity.note_logged(value, absolute(tracking_uri()), str(model_id))
