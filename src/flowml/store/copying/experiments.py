"""Experiments: found in the other store where an earlier copy went, else by their names, or made there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowml.errors import TrackingError
from flowml.store.backend import embedded, offline
from flowml.store.backend.urls import NOTE
from flowml.store.copying import marks
from flowml.store.copying.ends import Ends, existing

if TYPE_CHECKING:
    from mlflow.entities import Experiment


def known(ends: Ends, experiment: Experiment) -> Experiment | None:
    """Return the experiment that an earlier copy went to, whatever the two are called now; None if it is not there."""
    note = marks.noted(experiment.tags, ends.to)
    found = existing(ends.target.get_experiment, note.id) if note else None
    return found if note and found and _identity(found) == note.digest else None


def named(ends: Ends, experiment: Experiment) -> Experiment:
    """Return the experiment of the same name in the other store, and make it if there is none.

    Raises:
        Exception: What MLflow raises.
    """
    from mlflow.exceptions import MlflowException

    found = ends.target.get_experiment_by_name(experiment.name)
    if found is not None:
        return found
    tags = {key: value for key, value in marks.without_marks(experiment.tags).items() if key not in _OF_OFFLINE}
    place = embedded.artifacts(ends.target.tracking_uri, experiment.name)
    try:
        return ends.target.get_experiment(ends.target.create_experiment(experiment.name, place, tags))
    except MlflowException as error:
        there = ends.target.get_experiment_by_name(experiment.name)  # another process was faster
        if error.error_code != "RESOURCE_ALREADY_EXISTS" or there is None:
            raise
        return there


def check(ends: Ends, experiment: Experiment, there: Experiment) -> None:
    """Make sure that an experiment of the other store takes copies.

    Raises:
        TrackingError: If it was deleted there.
    """
    if there.lifecycle_stage == "deleted":
        msg = f"the MLflow experiment {experiment.name!r} was deleted in {ends.to}; nothing of it was copied or lost."
        remedy = (
            f"Restore it there with `mlflow experiments restore --experiment-id {there.experiment_id}` and sync again, "
            "or copy to another store: flowml sync --to URI."
        )
        raise TrackingError(msg, uri=ends.to, remedy=remedy)


def describe(ends: Ends, experiment: Experiment, there: Experiment) -> None:
    """Give an experiment of the other store the tags that it lacks."""
    for key, value in marks.without_marks(experiment.tags).items():
        if key not in (*_OF_OFFLINE, *there.tags) and (key == NOTE or not key.startswith("mlflow.")):
            ends.target.set_experiment_tag(there.experiment_id, key, value)


def note_copied(ends: Ends, experiment: Experiment, there: Experiment) -> None:
    """Note on an experiment where its runs go."""
    note = marks.Note(ends.to, str(there.experiment_id), _identity(there)).as_tag()
    if experiment.tags.get(marks.SYNCED) != note:
        ends.source.set_experiment_tag(experiment.experiment_id, marks.SYNCED, note)


def _identity(experiment: Experiment) -> str:
    """Return what tells an experiment from that of the same number in another store; people may rename it."""
    return marks.digest(experiment.creation_time)


_OF_OFFLINE = (offline.MEANT, offline.MEANT_REGISTRY)
