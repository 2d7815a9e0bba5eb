"""`tune`: a flow that calls a task again and again, each time with other arguments, which Optuna chooses."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import prefect
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flowml.capture.engine.tracked import MaterializingTask, Task, adopt
from flowml.decorators import flow, task
from flowml.errors import TuningError, did_you_mean
from flowml.options import Track
from flowml.tuning.claims import Claims, open_study
from flowml.tuning.goals import goals_of
from flowml.tuning.search import Search
from flowml.tuning.spaces import Choice, Float, Int, Space, SpaceFunction
from flowml.tuning.storage import imported, place_of
from flowml.tuning.study import Study

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

_searches: dict[str, Search] = {}
"""Those that run here. Prefect sends a flow along with each task to another process, and a search cannot be sent."""


def tune(  # noqa: PLR0913 - each by its name
    fit: Callable[..., Any],
    /,
    *args: Any,
    maximize: str | Sequence[str] = (),
    minimize: str | Sequence[str] = (),
    trials: int = 100,
    parallel: int = 1,
    timeout: float | None = None,
    name: str | None = None,
    space: SpaceFunction | Mapping[str, Any] | None = None,
    constraints: Sequence[Any] = (),
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    storage: str | None = None,
    runner: TaskRunner[Any] | None = None,
    **arguments: Any,
) -> Study:
    """Search for the arguments with which a task does best.

    The search is a flow, and each trial a task run with its own MLflow run under it. Optuna chooses what is tried next,
    and keeps the trials. With a ``name`` a search that was interrupted goes on when it is started again, and several
    processes may work on it at once.

    Args:
        fit: A task, a flow or a plain function. It returns a number, a mapping with the metrics, or a tuple such as
            ``(model, {"auc": 0.9})``; or it logs them.
        *args: What each trial is given first, such as the rows.
        maximize: The metric to be as high as can be, or several.
        minimize: The metric to be as low as can be, or several.
        trials: How many there are to be, in all processes and all starts together. One whose process died is told as
            failed, and tried again without being counted.
        parallel: How many run at a time.
        timeout: Seconds after which no other trial is begun.
        name: What the study is called. Default: a name that no other has.
        space: A function that chooses by Optuna's trial and returns arguments, for what depends on each other:
            ``lambda trial: {"depth": trial.suggest_int("depth", 2, 8)}``; or a mapping like the keywords, for an
            argument that is called like an option of `tune`.
        constraints: What the best has to meet beside: ``[AtMost("seconds", 2.0)]``.
        sampler: Optuna's sampler. Default: Optuna's own choice.
        pruner: Optuna's pruner, for tasks that call `report`. Default: the median of the trials before.
        storage: A database for the study, as SQLAlchemy names it, for trials on other machines; ``env:NAME`` takes it
            from the environment. Default: a file in flowml's home.
        runner: Prefect's task runner for the trials. Default: threads.
        **arguments: What is tried (`Float`, `Int`, `Choice`), and what each trial is given by name.

    Returns:
        The study, with its `best`.

    Raises:
        TuningError: If the task cannot be called like that, the study is about something else, or a trial shows that
            no other could count, as where its metric is missing.
        TypeError: If an option has the wrong type.

    Example:
        >>> study = flowml.tune(fit, rows, lr=Float(1e-4, 1e-1, log=True), depth=Int(2, 8), maximize="auc")
        >>> study.best.params
        {'lr': 0.012, 'depth': 5}
    """
    imported()
    if isinstance(space, Mapping):
        if twice := sorted(set(space) & set(arguments)):
            msg = f"tune() is given {twice[0]!r} twice: in space=, and by name."
            raise TuningError(msg)
        arguments, space = {**arguments, **space}, None
    dimensions = {key: value for key, value in arguments.items() if isinstance(value, Float | Int | Choice)}
    given = {key: value for key, value in arguments.items() if key not in dimensions}
    body = _function_of(fit)
    _refuse_misspelt(body, given)
    goals = goals_of(maximize, minimize, constraints)
    _check_numbers(trials, parallel, timeout)
    _check_kinds(sampler, pruner, space, runner)
    searched = Space(dimensions, space)
    searched.check(body, args, given, _options())
    study = name if name is not None else f"{_name_of(fit)}-{uuid.uuid4().hex[:8]}"
    place = place_of(_checked_name(study), storage)
    opened = open_study(place, searched, goals, sampler=sampler, pruner=pruner)
    search = Search(
        Claims(opened, place, searched, trials), goals, _task_of(fit), args, given, parallel, timeout, pruner
    )

    key = uuid.uuid4().hex
    _searches[key] = search

    def searching(study: str, goal: str, tried: dict[str, str], trials: int, parallel: int) -> None:  # noqa: ARG001 - what is shown
        _run(key)

    # To whom asks where it is written, the search is the user's, and has the commit of the user's repository.
    searching.__signature__ = inspect.signature(searching)  # type: ignore[attr-defined]
    searching.__wrapped__ = inspect.unwrap(body)  # type: ignore[attr-defined]

    run = flow(
        name="tune",
        flow_run_name=study.replace("{", "{{").replace("}", "}}"),
        task_runner=runner or ThreadPoolTaskRunner(max_workers=parallel),
        validate_parameters=False,
        track=Track(outputs=False),
    )(searching)
    try:
        run(study, ", ".join(goals.told()), searched.told(), trials, parallel)
    finally:
        del _searches[key]
    return Study(study, place)


def _run(key: str) -> None:
    _searches[key].run()


def _task_of(fit: Callable[..., Any]) -> Task[..., Any]:
    """Return the task that each trial is a run of."""
    if isinstance(fit, Task | MaterializingTask):
        return fit  # type: ignore[return-value]
    if isinstance(fit, prefect.Task):
        return adopt(fit, Task, Track())
    called = _call_flow(fit) if isinstance(fit, prefect.Flow) else fit
    return task(name=_name_of(fit))(called)


def _name_of(fit: Any) -> str:
    """Name what is searched for, also where it is an object that can be called, or a partial function."""
    named = getattr(fit, "func", fit)
    return str(getattr(fit, "name", None) or getattr(named, "__name__", None) or type(named).__name__)


def _call_flow(fit: prefect.Flow[..., Any]) -> Callable[..., Any]:
    """Return a function that calls a flow, with its signature."""
    import functools

    if fit.isasync:

        @functools.wraps(fit.fn)
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await fit(*args, **kwargs)
    else:

        @functools.wraps(fit.fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            return fit(*args, **kwargs)

    return call


def _function_of(fit: Any) -> Callable[..., Any]:
    found = fit.fn if isinstance(fit, prefect.Task | prefect.Flow) else fit
    if not callable(found):
        msg = f"tune() takes a task, a flow or a function to call, not {found!r:.80}."
        raise TypeError(msg)
    return found


def _options() -> set[str]:
    kinds = inspect.Parameter
    return {key for key, each in inspect.signature(tune).parameters.items() if each.kind is kinds.KEYWORD_ONLY}


def _refuse_misspelt(body: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Refuse an unknown keyword that is nearly an option, before others are missed for it.

    Raises:
        TypeError: If there is one.
    """
    takes = inspect.signature(body).parameters
    for key in given:
        if key not in takes and (asked := did_you_mean(key, sorted(_options()), cutoff=0.75)):
            msg = f"tune() has no option {key!r}, and {getattr(body, '__name__', body)} no such argument. {asked}"
            raise TypeError(msg)


def _check_numbers(trials: Any, parallel: Any, timeout: Any) -> None:
    for option, value in (("trials", trials), ("parallel", parallel)):
        if isinstance(value, bool) or not isinstance(value, int):
            msg = f"tune({option}=...) takes a whole number, not {value!r}."
            raise TypeError(msg)
        if value < 1:
            msg = f"tune({option}={value}) would do nothing; take 1 or more."
            raise ValueError(msg)
    if timeout is not None:
        if isinstance(timeout, bool) or not isinstance(timeout, int | float):
            msg = f"tune(timeout=...) takes seconds, not {timeout!r}."
            raise TypeError(msg)
        if not timeout > 0:
            msg = f"tune(timeout={timeout}) would begin no trial; take more than 0 seconds."
            raise ValueError(msg)


def _check_kinds(sampler: Any, pruner: Any, space: Any, runner: Any) -> None:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    for option, value, kind, allowed in (
        ("sampler", sampler, BaseSampler, "a sampler of Optuna's, such as optuna.samplers.TPESampler(seed=0)"),
        ("pruner", pruner, BasePruner, "a pruner of Optuna's, such as optuna.pruners.MedianPruner()"),
        ("runner", runner, TaskRunner, "a task runner of Prefect's, such as ProcessPoolTaskRunner(max_workers=4)"),
    ):
        if value is not None and not isinstance(value, kind):
            msg = f"tune({option}=...) takes {allowed}, not {value!r:.80}."
            raise TypeError(msg)
    if space is not None and not callable(space):
        msg = f"tune(space=...) takes a function of Optuna's trial or a mapping, not {space!r:.80}."
        raise TypeError(msg)


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip():
        msg = f"tune(name=...) takes a name for the study, not {name!r}."
        raise TypeError(msg)
    return name
