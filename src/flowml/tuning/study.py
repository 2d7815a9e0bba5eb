"""What a search has found: the best trial, all of them as a table, and the runs that they are in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowml import records
from flowml.capture.reading import connection_here
from flowml.errors import TuningError, nearest_or_some
from flowml.secrets.uris import without_credentials
from flowml.tuning import claims
from flowml.tuning.storage import Place, imported, place_of, studies_here

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    from optuna.trial import FrozenTrial

    from flowml.store.backend.connection import Connection


@dataclass(frozen=True, slots=True)
class Best:
    """A trial that none was better than.

    Attributes:
        number: Its number in the study.
        params: The arguments that were chosen for it.
        values: What it reached, by metric.
    """

    number: int
    params: Mapping[str, Any]
    values: Mapping[str, float]
    _study_id: str = field(repr=False)

    @property
    def value(self) -> float:
        """What it reached, in the first metric."""
        return next(iter(self.values.values()))

    @property
    def run(self) -> records.CurrentRun:
        """Its run in MLflow: the id, and the page where there is one.

        Raises:
            TuningError: If the store in force has no such run.
        """
        connection = connection_here()
        return _run_of(connection, self._study_id, self.number)

    @property
    def model_id(self) -> str:
        """The id of the model that it returned, as MLflow has it; `flowml.gate` takes the trial by it.

        Raises:
            TuningError: If it returned none, or its run is not there.
        """
        connection = connection_here()
        run = _run_of(connection, self._study_id, self.number)
        found = connection.client.search_logged_models([run.experiment_id], f"source_run_id = '{run.run_id}'")
        if not found:
            msg = (
                f"Trial {self.number} has no model: its task returned none. Return the fitted model beside the metric, "
                f"as in `return model, {{...}}`, or fit one with study.best.params."
            )
            raise TuningError(msg)
        return str(found[0].model_id)

    @property
    def model(self) -> Any:
        """The model that it returned, loaded as its library has it.

        Raises:
            TuningError: If it returned none, or its run is not there.
            Exception: What MLflow raises.
        """
        import mlflow

        loaded = mlflow.pyfunc.load_model(f"models:/{self.model_id}")
        try:
            return loaded.get_raw_model()
        except Exception:  # noqa: BLE001 - a flavour that wraps nothing
            return loaded


@dataclass(frozen=True, slots=True)
class Study:
    """All trials of a search, as Optuna's storage has them at the time of asking.

    Attributes:
        name: What it is called.
    """

    name: str
    _place: Place = field(repr=False)

    @classmethod
    def find(cls, name: str, storage: str | None = None) -> Study:
        """Find a study by its name.

        Args:
            name: What it is called.
            storage: The database that it is in. Default: a file of this project.

        Raises:
            TuningError: If there is none.
        """
        module = imported()
        place = place_of(name, storage)
        is_there = place.file is None or place.file.exists()
        there = module.get_all_study_names(place.storage()) if is_there else studies_here()
        if name not in there:
            known = nearest_or_some(name, there) or "There is none yet."
            msg = f"There is no study {name!r} in {place if storage else 'this project'}. {known}"
            raise TuningError(msg)
        return cls(name, place)

    def __str__(self) -> str:
        return f"{self.name}: {len(self.optuna.get_trials(deepcopy=False))} trials for {', '.join(self.goals)}"

    @property
    def optuna(self) -> optuna.Study:
        """The study itself, for all that Optuna can do with it."""
        module = imported()
        return module.load_study(study_name=self.name, storage=self._place.storage())  # type: ignore[no-any-return]

    @property
    def goals(self) -> list[str]:
        """What it is for, in words."""
        return list(self.optuna.user_attrs[claims.GOALS])

    @property
    def metrics(self) -> list[str]:
        """The metrics that are optimized."""
        return [told.split(" ", 1)[1] for told in self.goals[: len(self.optuna.directions)]]

    @property
    def best(self) -> Best:
        """The best trial that meets the constraints; `front` has them where several metrics count.

        Raises:
            TuningError: If there is none, or several metrics count.
        """
        if len(self.metrics) > 1:
            msg = f"No trial is best by {' and '.join(self.metrics)} at once. Choose one of study.front."
            raise TuningError(msg)
        return next(iter(self.front))

    @property
    def front(self) -> list[Best]:
        """The trials that no other beats in all metrics at once: the Pareto front; of one metric, the best.

        Raises:
            TuningError: If no trial ended with a value, or none meets the constraints.
        """
        found = self.found()
        if not found:
            counts = self.counts()
            why = "no trial meets the constraints" if counts.get("complete") else "no trial ended with a value"
            told = ", ".join(f"{count} {state}" for state, count in counts.items()) or "none was begun"
            msg = f"The study {self.name!r} has no best trial, for {why}: {told}."
            raise TuningError(msg)
        return found

    def found(self) -> list[Best]:
        """Return the same; nothing where there is none."""
        study, metrics = self.optuna, self.metrics
        try:
            best = [study.best_trial] if len(metrics) == 1 else study.best_trials
        except ValueError:  # how Optuna says that there is none
            return []
        study_id = study.user_attrs[claims.ID]
        return [
            Best(trial.number, dict(trial.params), dict(zip(metrics, trial.values, strict=True)), study_id)
            for trial in best
        ]

    def counts(self) -> dict[str, int]:
        """Return how many trials ended how; those that were interrupted and tried again are named apart."""
        found: dict[str, int] = {}
        for trial in self.optuna.get_trials(deepcopy=False):
            found[state_of(trial)] = found.get(state_of(trial), 0) + 1
        return found

    def table(self) -> pd.DataFrame:
        """Return a row for each trial: number, state, metrics, parameters, seconds, and why it failed."""
        import pandas as pd

        metrics = self.metrics
        rows = []
        for trial in self.optuna.get_trials(deepcopy=False):
            reached = trial.values or [None] * len(metrics)  # noqa: PD011 - Optuna's
            values = dict(zip(metrics, reached, strict=True))
            seconds = trial.duration.total_seconds() if trial.duration else None
            why = trial.user_attrs.get(claims.ERROR) or trial.user_attrs.get(claims.UNCOUNTED)
            row = {"number": trial.number, "state": state_of(trial), **values, "seconds": seconds, "error": why}
            rows.append(row | {f"param.{name}": value for name, value in trial.params.items()})
        return pd.DataFrame(rows)


def state_of(trial: FrozenTrial) -> str:
    """Return how a trial ended, in one word."""
    if trial.user_attrs.get(claims.ERROR) == claims.INTERRUPTED:
        return "interrupted"
    return {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(
        trial.state.name, trial.state.name.lower()
    )


def _run_of(connection: Connection, study_id: str, number: int) -> records.CurrentRun:
    from flowml.store.backend.paging import paged

    client = connection.client
    experiments = [each.experiment_id for each in paged(client.search_experiments)]
    wanted = f"tags.`flowml.study_id` = '{study_id}' and tags.`flowml.trial` = '{number}'"
    found = client.search_runs(experiments, wanted, order_by=["attributes.start_time DESC"])
    if not found:
        msg = (
            f"MLflow has no run of trial {number} ({without_credentials(connection.uri)}). Was it tracked "
            "elsewhere, or not at all?"
        )
        raise TuningError(msg)
    run = min(
        found, key=lambda each: each.info.status != "FINISHED"
    )  # of a task that was tried again, the one that ended
    root = run.data.tags.get("flowml.root_run_id", run.info.run_id)
    page = connection.page_of(run.info.experiment_id, run.info.run_id)
    return records.CurrentRun(run.info.run_id, run.info.experiment_id, root, page)
