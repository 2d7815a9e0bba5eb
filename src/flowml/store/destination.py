"""Where an outermost call goes: to the store and experiment that the user's code names in its first lines, if any."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flowml import settings
from flowml.errors import TrackingError
from flowml.secrets.uris import without_credentials
from flowml.store.backend import embedded, imports, mlflow_state
from flowml.store.backend.connection import Connection, Reached, connect
from flowml.store.backend.in_force import uses_mlflows_own
from flowml.store.waiting.queue import Experiment


class Destination:
    """The store and experiment of one outermost call; made when it begins, asked when something needs it.

    Args:
        experiment: What ``Track(experiment=...)`` says; None leaves it to others.
        owner: The flow's or task's name.
        strict: Whether to fail at once if the store in force cannot be reached; else the code may name another.
        reached: What came of connecting to it, if that was tried already.

    Raises:
        TrackingError: If it cannot, and ``strict`` asks to know.
    """

    def __init__(self, experiment: str | None, owner: str, *, strict: bool, reached: Reached | None = None) -> None:
        self._named = experiment
        self._strict = strict
        self._owner = owner
        self._chosen_before = mlflow_state.chosen_experiment()
        self._is_mlflows = uses_mlflows_own()
        self._problem: TrackingError | None = None
        self._first: Connection | None = None
        try:
            if isinstance(reached, TrackingError):
                raise reached
            self._first = connect(may_be_away=not strict)  # plain calls go there too, from the first line on
        except TrackingError as problem:
            if strict:
                raise
            self._problem = problem
        self._uri = mlflow_state.absolute(mlflow_state.tracking_uri())
        self._experiment: Experiment | None = None

    def connect(self) -> Connection:
        """Choose for good.

        Raises:
            TrackingError: If the store cannot be reached.
        """
        now, chosen = mlflow_state.absolute(mlflow_state.tracking_uri()), mlflow_state.chosen_experiment()
        has_moved = now != self._uri
        if self._problem and not has_moved:
            raise self._problem
        connection = self._first
        if connection is None or has_moved:
            registry = settings.resolved(settings.current().registry_uri)
            connection = connect(now, registry, may_be_away=not self._strict)
        self._experiment = self._choose(connection.uri, chosen)
        return connection

    def place(self) -> Mapping[str, Any]:
        """Return the store that would be chosen now, without credentials."""
        uri = mlflow_state.absolute(mlflow_state.tracking_uri())
        if self._first and uri == self._uri:
            return self._first.place
        return {"uri": without_credentials(uri), "is_own": embedded.is_embedded(uri)}

    def is_loaded(self) -> bool:
        """Tell whether the store that is named by now can be connected to without an import."""
        return imports.is_loaded(mlflow_state.absolute(mlflow_state.tracking_uri()))

    def experiment(self) -> Experiment:
        """Return the experiment that is chosen, or would be now."""
        return self._experiment or self._choose(self._uri, mlflow_state.chosen_experiment())

    def said(self) -> object:
        """Return what the user's code has named until now, to see later whether it named something else."""
        return mlflow_state.tracking_uri(), *mlflow_state.experiment_named()

    def _choose(self, uri: str, chosen: mlflow_state.ChosenExperiment) -> Experiment:
        """What was said by hand inside the call, this flow's option, the setting, what was said before, the name."""
        chosen_at = mlflow_state.absolute(chosen.uri) if chosen.uri else self._uri
        # A store is the same one whoever logs in: the password may be named after the experiment.
        is_of_this_store = without_credentials(uri) == without_credentials(chosen_at)
        by_hand = chosen.experiment_id if is_of_this_store and (self._is_mlflows or chosen.uri) else None
        if by_hand and chosen.number != self._chosen_before.number:
            return Experiment(by_hand)
        if named := self._named or settings.current().experiment:
            return Experiment(None, named)
        if by_hand:
            return Experiment(by_hand)
        if name := os.environ.get("MLFLOW_EXPERIMENT_NAME"):
            return Experiment(None, name)
        from_environment = os.environ.get("MLFLOW_EXPERIMENT_ID")
        # What `mlflow.set_experiment` chose is there, too, and may be of another store.
        if from_environment and self._is_mlflows and from_environment != chosen.experiment_id:
            return Experiment(from_environment)
        return Experiment(None, self._owner)
