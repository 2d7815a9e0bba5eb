"""The search itself: begin trials while there is room, wait for one to end, and so on."""

from __future__ import annotations

import copy
import inspect
import queue
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from prefect.logging import get_run_logger

from flowml.capture.engine.tracked import Tracked, adopt
from flowml.capture.inside import log, log_metrics, log_params
from flowml.capture.reading import connection_here
from flowml.capture.session import current
from flowml.errors import TuningError
from flowml.records import Text
from flowml.store import NO_RUN
from flowml.tuning.claims import ERROR, ID, Claims, trial_id
from flowml.tuning.figures import figures
from flowml.tuning.goals import Goals, NoMetricError
from flowml.tuning.mending import mend
from flowml.tuning.spaces import check_call
from flowml.tuning.study import Study
from flowml.tuning.trials import TrialRef, note, tell_values

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.pruners import BasePruner
    from prefect.futures import PrefectFuture

    from flowml.capture.engine.tracked import Task

_HOPELESS = 20  # trials that failed in a row, with none before that ended well
_PATIENCE = 60.0  # seconds, for the state of a task run that is over


@dataclass
class Search:
    """One process's part in a search.

    Attributes:
        claims: The trials that it begins.
        goals: What it is for.
        fit: The task that each trial is a run of.
        args: What each is given first.
        given: What each is given by name.
        parallel: How many run at a time.
        timeout: Seconds after which none is begun; None for no limit.
        pruner: What decides when one is given up.
    """

    claims: Claims
    goals: Goals
    fit: Task[..., Any]
    args: tuple[Any, ...]
    given: Mapping[str, Any]
    parallel: int
    timeout: float | None
    pruner: BasePruner | None

    def run(self) -> None:
        """Run trials until there are enough, the time is over, or none could count.

        Raises:
            TuningError: If none could count.
        """
        self._log = get_run_logger()
        self._study_id = self.claims.study.user_attrs[ID]
        self._failed = 0
        earlier = self.claims.study.get_trials(deepcopy=False)
        self._goes_on = bool(earlier)
        self._ended_well = any(trial.values for trial in earlier)
        running: dict[int, PrefectFuture[Any]] = {}
        done: queue.SimpleQueue[int] = queue.SimpleQueue()
        until = time.monotonic() + self.timeout if self.timeout else float("inf")
        try:
            self._take_over()
            while True:
                while len(running) < self.parallel and time.monotonic() < until and (trial := self.claims.begin()):
                    number = trial.number
                    running[number] = future = self._submitted(trial)
                    future.add_done_callback(partial(_put, done, number))
                if not running:
                    if time.monotonic() < until and self._take_over():
                        continue  # another process died meanwhile
                    break
                number = done.get()
                self._ended(number, running[number])
                del running[number]
        finally:
            self.claims.give_back(mine=running)  # none, where nothing went wrong
        self._show()

    def _take_over(self) -> int:
        """Give back the trials of processes that are gone; return how many there were."""
        if left := self.claims.give_back():
            self._log.warning(
                "flowml: %d trials of %s ran when their process ended: they are told as failed, and tried again.",
                len(left),
                self.claims.place.study,
            )
        return len(left)

    def _submitted(self, trial: Trial) -> PrefectFuture[Any]:
        try:
            params = self.claims.space.params(trial)
            check_call(self.fit.fn, self.args, {*params, *self.given}, set())
        except BaseException:
            self.claims.give_back(mine=[trial.number])
            raise
        ref = TrialRef(self.claims.place, self._study_id, trial.number, self.goals, self.pruner)
        return trial_task(self.fit, ref).submit(*self.args, **self.given, **params)  # type: ignore[no-any-return]

    def _ended(self, number: int, future: PrefectFuture[Any]) -> None:
        """Make sure that Optuna knows how a trial ended: it does not, where its body failed or was not called."""
        from optuna.trial import TrialState

        storage = self.claims.place.storage()
        trial = storage.get_trial(trial_id(self.claims.place, number))
        future.wait(_PATIENCE)  # it is over; its state may not be here yet
        if trial.state == TrialState.RUNNING:
            self._tell(number, future)
            trial = storage.get_trial(trial_id(self.claims.place, number))
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            self._ended_well = True
            return
        if future.state.is_failed() and isinstance(error := _result_of(future), NoMetricError):
            raise error
        self._failed += 1
        if not self._ended_well and self._failed >= min(_HOPELESS, self.claims.total):
            msg = (
                f"All {self._failed} trials of {self.claims.place.study!r} failed, and none ended well before. "
                f"The last: {trial.user_attrs.get(ERROR, 'its reason is in the log')}"
            )
            raise TuningError(msg)

    def _tell(self, number: int, future: PrefectFuture[Any]) -> None:
        from optuna.trial import TrialState

        state = future.state
        ref = TrialRef(self.claims.place, self._study_id, number, self.goals, self.pruner)
        if state.is_completed():  # by a cache, without its body
            found = self.goals.read(_result_of(future), {})
            if not self.goals.is_nan(found):
                tell_values(ref, found)
                return
            why = f"it returned NaN: {found}"
        else:
            why = state.message or state.name or "it failed"
        note(ref, ERROR, why)
        ref.study().tell(number, state=TrialState.FAIL, skip_if_finished=True)
        self._log.warning("flowml: trial %d counts as failed: %s", number, why)

    def _show(self) -> None:
        """Log what was found on the search's run: the best, the figures, and the table."""
        study = Study(self.claims.place.study, self.claims.place)
        counts = study.counts()
        self._log.info("flowml: %s has %s.", study.name, ", ".join(f"{many} {how}" for how, many in counts.items()))
        session = current()
        if session is None or session.run is NO_RUN:
            return
        if self._goes_on:
            with session.guard("close the runs of trials that ended"):
                mend(study, connection_here())
        log(**{f"trials_{how}": many for how, many in counts.items()})
        found = study.found()
        if len(study.metrics) > 1:
            log(pareto_front=len(found))
        elif found:
            log_params({"best": dict(found[0].params), "best_trial": found[0].number})
            log_metrics({f"best.{name}": value for name, value in found[0].values.items()})
        log(**figures(study))
        session.put([Text("trials.csv", study.table().to_csv(index=False))])


def _put(done: queue.SimpleQueue[int], number: int, _: Any) -> None:
    done.put(number)


def trial_task(fit: Task[..., Any], ref: TrialRef) -> Task[..., Any]:
    """Return the user's task as one trial of it: the same in all, but what it calls."""
    made = copy.copy(fit)
    made.isgenerator = False
    made.task_run_name = made.task_run_name or f"{fit.name} {ref.number}".replace("{", "{{").replace("}", "}}")
    made.fn = ref.body(inspect.unwrap(fit.fn, stop=lambda fn: not isinstance(fn, Tracked)))
    return adopt(made, type(fit), fit.track)


def _result_of(future: PrefectFuture[Any]) -> Any:
    """Return what a task run that is over returned, or its error."""
    return future.result(_PATIENCE, raise_on_failure=False)
