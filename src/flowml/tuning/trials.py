"""One trial, in whichever process it runs: the user's function is called, and Optuna is told what came of it."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect import State
from prefect.context import TaskRunContext
from prefect.states import Completed

from flowml import records
from flowml.capture.session import Session, current
from flowml.describe.metrics import as_number
from flowml.store import NO_RUN
from flowml.tuning.claims import ERROR, UNCOUNTED, trial_id
from flowml.tuning.goals import Goals, NoMetricError
from flowml.tuning.storage import Place

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner

PRUNED, STUDY, STUDY_ID, TRIAL = "flowml.pruned", "flowml.study", "flowml.study_id", "flowml.trial"
"""The tags of a trial's run."""

_running: ContextVar[RunningTrial | None] = ContextVar("flowml_trial", default=None)


@dataclass(frozen=True, slots=True)
class TrialRef:
    """Which trial it is; it goes with the task to the process that runs it.

    Attributes:
        place: Where its study is kept.
        study_id: What no other study has.
        number: Its number in the study.
        goals: What it is asked for.
        pruner: What decides when it is given up.
    """

    place: Place
    study_id: str
    number: int
    goals: Goals
    pruner: BasePruner | None

    def study(self) -> Study:
        """Return the study as this process tells it something; it chooses nothing here."""
        return self.place.study_to_tell(self.pruner)

    def body(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function of this trial's task: it has the signature and the name of the user's own."""
        if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):

            @functools.wraps(fn)
            async def trial(*args: Any, **kwargs: Any) -> Any:
                return await self.run_async(fn, args, kwargs)
        else:

            @functools.wraps(fn)
            def trial(*args: Any, **kwargs: Any) -> Any:
                return self.run(fn, args, kwargs)

        return trial

    def run(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call the function, and tell Optuna."""
        from optuna import TrialPruned

        running = RunningTrial(self)
        with running.current():
            try:
                returned = fn(*args, **kwargs)
                if inspect.isgenerator(returned):
                    returned = running.through(returned)
            except TrialPruned as pruned:
                return running.pruned(pruned)
        return running.completed(returned)

    async def run_async(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Do the same for a coroutine or an async generator."""
        from optuna import TrialPruned

        running = RunningTrial(self)
        with running.current():
            try:
                called = fn(*args, **kwargs)
                returned = await running.through_async(called) if inspect.isasyncgen(called) else await called
            except TrialPruned as pruned:
                return running.pruned(pruned)
        return running.completed(returned)


class RunningTrial:
    """A trial while its function runs.

    Args:
        ref: Which it is.
    """

    def __init__(self, ref: TrialRef) -> None:
        self._ref = ref
        self._session = _session_here()
        self._trial: Trial | None = None
        self._steps: set[int] = set()
        self._last: tuple[int, float] | None = None
        told = {STUDY: ref.place.study, STUDY_ID: ref.study_id, TRIAL: str(ref.number)}
        self._put([records.Tag(key, value) for key, value in told.items()])

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make it the one that `report` is about."""
        token = _running.set(self)
        try:
            yield
        finally:
            _running.reset(token)

    def report(self, step: int, value: float) -> None:
        """Log a value on the way, and stop the trial if others were better at this step.

        Raises:
            TrialPruned: If it is not worth going on.
        """
        from optuna import Trial, TrialPruned

        name = self._ref.goals.single
        if name is None:
            return
        self._put([records.Metric(name, value, step)])
        self._last = step, value
        if self._trial is None:
            its_id = trial_id(self._ref.place, self._ref.number)
            self._trial = Trial(self._ref.study(), its_id)
            self._steps = set(self._ref.place.storage().get_trial(its_id).intermediate_values)
        if step not in self._steps:  # an attempt before this one may have told it: Optuna keeps the first
            self._steps.add(step)
            self._trial.report(value, step)
        if self._trial.should_prune():
            msg = f"Pruned at step {step}: {name} was {value:g}."
            raise TrialPruned(msg)

    def through(self, yielded: Generator[Any, Any, Any]) -> Any:
        """Report each value of a generator; return what it returns or, failing that, its last value."""
        step, last = 0, None
        while True:
            try:
                last = next(yielded)
            except StopIteration as stop:
                return last if stop.value is None else stop.value
            try:
                self._report_yielded(step, last)
            except BaseException:
                yielded.close()
                raise
            step += 1

    async def through_async(self, yielded: AsyncGenerator[Any, Any]) -> Any:
        """Do the same for an async generator, which returns nothing."""
        step, last = 0, None
        try:
            async for last in yielded:
                self._report_yielded(step, last)
                step += 1
        finally:
            await yielded.aclose()
        return last

    def _report_yielded(self, step: int, value: Any) -> None:
        more = {str(key): as_number(each) for key, each in value.items()} if isinstance(value, Mapping) else {}
        name = self._ref.goals.single
        self._put([records.Metric(key, each, step) for key, each in more.items() if each is not None and key != name])
        point = more.get(name) if isinstance(value, Mapping) and name else as_number(value)
        if point is not None:
            self.report(step, point)

    def completed(self, returned: Any) -> Any:
        """Tell Optuna what the function returned, before anybody else is told that it did.

        Raises:
            NoMetricError: If a metric is missing.
        """
        from optuna.trial import TrialState

        goals, number = self._ref.goals, self._ref.number
        if isinstance(returned, State) and not returned.is_completed():
            note(self._ref, ERROR, returned.message or returned.name or "it failed")
            self._tell(TrialState.FAIL)
            return returned
        try:
            found = goals.read(returned.data if isinstance(returned, State) else returned, self._logged())
        except NoMetricError as error:
            note(self._ref, UNCOUNTED, f"no metric: {error}")
            self._tell(TrialState.FAIL)
            raise
        if goals.is_nan(found):
            text = f"it returned NaN: {found}"
            note(self._ref, ERROR, text)
            self._tell(TrialState.FAIL)
            self._put([records.Tag("flowml.trial_error", text)])
            _log().warning("flowml: trial %d counts as failed: %s", number, text)
            return returned
        tell_values(self._ref, found)
        self._put(self._new_of(found))
        return returned

    def pruned(self, why: BaseException) -> State[Any]:
        """Tell Optuna that the trial was given up; for Prefect it is completed, under a name of its own."""
        from optuna.trial import TrialState

        self._tell(TrialState.PRUNED)
        self._put([records.Tag(PRUNED, "true")])
        if self._session is not None:
            self._session.returns_nothing = True
        return Completed(name="Pruned", message=str(why) or "Pruned.")

    def _tell(self, state: Any) -> None:
        self._ref.study().tell(self._ref.number, state=state, skip_if_finished=True)

    def _logged(self) -> dict[str, float]:
        """Return the last value of each metric that was logged, by flowml or by hand."""
        reported = {self._ref.goals.single: self._last[1]} if self._ref.goals.single and self._last else {}
        if self._session is None:
            return reported
        target = self._session.run.target
        by_hand = target.logged.latest if target else {}
        return {**by_hand, **self._session.metrics, **reported}

    def _new_of(self, found: Mapping[str, float]) -> list[records.Record]:
        """Return the metrics that a bare number is: flowml knows no name for it. A curve has it as its last point."""
        name = self._ref.goals.single
        if name is None or self._last is None:
            step = 0
        elif self._last[1] == found[name]:
            return []
        else:
            step = self._last[0] + 1
        return [records.Metric(key, value, step if key == name else 0) for key, value in found.items()]

    def _put(self, new: list[records.Record]) -> None:
        if self._session is not None:
            with self._session.guard("tell of the trial"):
                self._session.put(new)


def running() -> RunningTrial | None:
    """Return the trial that runs here."""
    return _running.get()


def tell_values(ref: TrialRef, found: Mapping[str, float]) -> None:
    """Tell Optuna the metrics of a trial, and how far it keeps to the constraints."""
    from optuna import Trial
    from optuna.trial import TrialState

    study = ref.study()
    if excess := ref.goals.excess(found):
        trial = Trial(study, trial_id(ref.place, ref.number))
        for rule, value in excess.items():
            if rule not in trial.constraints:  # an attempt before this one has told
                trial.set_constraint(rule, value)
    values = ref.goals.values(found)
    told = study.tell(ref.number, values, state=TrialState.COMPLETE, skip_if_finished=True)
    if told.state != TrialState.COMPLETE:
        _log().warning(
            "flowml: trial %d ended with %s after it was told as %s: that stands.", ref.number, values, told.state.name
        )


def note(ref: TrialRef, key: str, text: str) -> None:
    """Note something about a trial that has not ended."""
    ref.place.storage().set_trial_user_attr(trial_id(ref.place, ref.number), key, text[:2000])


def _session_here() -> Session | None:
    """Return the session of this very task run; None where it is not tracked."""
    session, context = current(), TaskRunContext.get()
    if session is None or context is None or session.run is NO_RUN:
        return None
    is_own = session.call.identity.tag == ("prefect.task_run_id", str(context.task_run.id))
    return session if is_own else None


def _log() -> Any:
    session = current()
    return session.call.log if session else logging.getLogger("prefect.flowml")
