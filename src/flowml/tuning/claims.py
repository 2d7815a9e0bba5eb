"""Whose trial it is: trials are begun one at a time, counted over all processes, and given back by those that died."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowml import process
from flowml.errors import TuningError
from flowml.tuning.goals import Goals
from flowml.tuning.spaces import Space
from flowml.tuning.storage import Place, imported

if TYPE_CHECKING:
    from collections.abc import Collection

    import optuna
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

ID, SPACE, GOALS = "flowml.id", "flowml.space", "flowml.goals"
"""What a study is known by: attributes of it in Optuna's storage."""

OWNER, UNCOUNTED, ERROR, RETRY_OF = "flowml.process", "flowml.uncounted", "flowml.error", "flowml.retry_of"
"""What is noted of a trial: who runs it, why it does not count, why it failed, which one it takes up again."""

INTERRUPTED = "its process ended"
_MOST_RETRIES = 3  # of one choice: what kills its process each time is given up


@dataclass(frozen=True, slots=True)
class Claims:
    """The trials of one study, as this process begins and ends them.

    Attributes:
        study: The study, with the user's sampler.
        place: Where it is kept.
        space: What is tried.
        total: How many trials there are to be, in all processes together.
    """

    study: Study
    place: Place
    space: Space
    total: int

    def begin(self) -> Trial | None:
        """Begin a trial; None if there are enough, or nothing is left to try."""
        with self.place.alone():
            if self.count() >= self.total or self._is_exhausted():
                return None
            trial = self.study.ask(self.space.distributions())
            trial.set_user_attr(OWNER, _me())
            return trial

    def count(self) -> int:
        """Return how many trials there are, whoever began them, without those that are tried again."""
        from optuna.trial import TrialState

        states = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        return sum(UNCOUNTED not in trial.user_attrs for trial in self.study.get_trials(deepcopy=False, states=states))

    def give_back(self, mine: Collection[int] = ()) -> list[int]:
        """Tell the trials as failed whose process is gone, and have what they tried be tried again.

        Args:
            mine: Trials of this very process, which it will not end.

        Returns:
            Their numbers.
        """
        from optuna.trial import TrialState

        with self.place.alone():
            running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            gone = [trial for trial in running if trial.number in mine or is_gone(trial)]
            for trial in gone:
                self._give_back(trial)
        return [trial.number for trial in gone]

    def _give_back(self, trial: FrozenTrial) -> None:
        """End one trial. Killed in between, it is done again: no step is done twice."""
        import optuna
        from optuna.trial import TrialState

        retries, first = self._retries(trial)
        if retries < _MOST_RETRIES:
            self.note(trial.number, UNCOUNTED, INTERRUPTED)
            following = self.study.get_trials(deepcopy=False)[trial.number + 1 :]
            if not any(each.user_attrs.get(RETRY_OF) == [first, retries + 1] for each in following):
                self.study.add_trial(
                    optuna.create_trial(
                        state=TrialState.WAITING,
                        params=trial.params,
                        distributions=trial.distributions,
                        user_attrs={RETRY_OF: [first, retries + 1]},
                        system_attrs=trial.system_attrs,  # what a sampler has noted of this choice
                    )
                )
        self.note(trial.number, ERROR, INTERRUPTED)
        self.place.study_to_tell().tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _retries(self, trial: FrozenTrial) -> tuple[int, int]:
        """Return how often a choice was taken up again, and the trial that it was first made for."""
        first, retries = trial.user_attrs.get(RETRY_OF, (trial.number, 0))
        return retries, first

    def note(self, number: int, key: str, value: Any) -> None:
        """Note something about a trial that is running."""
        storage = self.place.storage()
        storage.set_trial_user_attr(trial_id(self.place, number), key, value)

    def _is_exhausted(self) -> bool:
        """Tell whether a grid has no point left."""
        from optuna.samplers import GridSampler

        sampler = self.study.sampler
        return isinstance(sampler, GridSampler) and sampler.is_exhausted(self.study)


def open_study(
    place: Place,
    space: Space,
    goals: Goals,
    *,
    sampler: optuna.samplers.BaseSampler | None,
    pruner: optuna.pruners.BasePruner | None,
) -> Study:
    """Begin a study, or go on with it.

    Raises:
        TuningError: If the study of this name is about something else.
    """
    optuna = imported()
    with place.alone():
        study = optuna.create_study(
            study_name=place.study,
            storage=place.storage(),
            directions=list(goals.directions),
            sampler=sampler,
            pruner=pruner,
            load_if_exists=True,
        )
        known = study.user_attrs
        told = {SPACE: space.told(), GOALS: goals.told()}
        if ID not in known and not study.get_trials(deepcopy=False):  # else it was begun by Optuna alone
            for key, value in told.items():
                study.set_user_attr(key, value)
            study.set_user_attr(ID, uuid.uuid4().hex)  # last: with it the others are there
            known = study.user_attrs
    if ID not in known:
        msg = f"The study {place.study!r} in {place} was not begun by flowml.tune(). Take another name=."
        raise TuningError(msg)
    for key, of in ((GOALS, "is for"), (SPACE, "tries")):
        if known[key] != told[key]:
            msg = (
                f"The study {place.study!r} in {place} {of} {_shown(known[key])}; this call of tune() {of} "
                f"{_shown(told[key])}. Trials of both could not be compared: take another name=."
            )
            raise TuningError(msg)
    return study  # type: ignore[no-any-return]


def trial_id(place: Place, number: int) -> int:
    """Return the id by which Optuna's storage knows a trial."""
    storage = place.storage()
    return storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(place.study), number)


def _me() -> str:
    return process.tags().get(process.TAG, str(os.getpid()))


def is_gone(trial: FrozenTrial) -> bool:
    """Tell whether the process that ran a trial is gone; one on another machine is thought to be there."""
    if OWNER not in trial.user_attrs:
        return True  # its process was killed between two steps that nobody comes between
    return process.is_gone({process.TAG: trial.user_attrs[OWNER]}) is True


def _shown(told: Any) -> str:
    return ", ".join(f"{name}={what}" for name, what in told.items()) if isinstance(told, dict) else ", ".join(told)
