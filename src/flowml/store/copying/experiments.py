"""Experiments: found in the other store by their names, or made there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowml.errors import TrackingError
from flowml.store.backend import embedded, offline
from flowml.store.backend.urls import NOTE
from flowml.store.copying.ends import Ends

if TYPE_CHECKING:
    from mlflow.entities import Experiment


def find_or_make(ends: Ends, experiment: Experiment) -> str:
    """Return the id of the experiment of the same name in the other store.

    Raises:
        TrackingError: If it was deleted there.
        Exception: What MLflow raises.
    """
    from mlflow.exceptions import MlflowException

    found = ends.target.get_experiment_by_name(experiment.name)
    if found is None:
        tags = {key: value for key, value in experiment.tags.items() if key not in _OF_OFFLINE}
        place = embedded.artifacts(ends.target.tracking_uri, experiment.name)
        try:
            return ends.target.create_experiment(experiment.name, artifact_location=place, tags=tags)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = ends.target.get_experiment_by_name(experiment.name)  # another process was faster
    if found is None or found.lifecycle_stage == "deleted":
        number = found.experiment_id if found else "?"
        msg = f"the MLflow experiment {experiment.name!r} was deleted in {ends.to}; nothing of it was copied or lost."
        remedy = (
            f"Restore it there with `mlflow experiments restore --experiment-id {number}` and sync again, "
            "or copy to another store: flowml sync --to URI."
        )
        raise TrackingError(msg, uri=ends.to, remedy=remedy)
    for key, value in experiment.tags.items():
        if key not in (*_OF_OFFLINE, *found.tags) and (key == NOTE or not key.startswith("mlflow.")):
            ends.target.set_experiment_tag(found.experiment_id, key, value)
    return str(found.experiment_id)


_OF_OFFLINE = (offline.MEANT, offline.MEANT_REGISTRY)
