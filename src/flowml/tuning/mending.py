"""Runs of trials that ended well, whose process was killed before it could say so to MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowml import formats, settings, store
from flowml.store.backend.paging import paged
from flowml.store.journal.left import left_behind
from flowml.store.recovery import recover
from flowml.tuning.claims import ID, is_gone
from flowml.tuning.trials import PRUNED, STUDY_ID, TRIAL

if TYPE_CHECKING:
    from mlflow.entities import Run
    from optuna.trial import FrozenTrial

    from flowml.store.backend.connection import Connection
    from flowml.tuning.study import Study

MENDED = "flowml.trial_mended"
"""The tag of a run that was closed as its trial ended, for a process that did not live to do it."""


def mend(study: Study, connection: Connection) -> int:
    """Close the runs of trials that ended before their process died as the study has them: it is the truth.

    Milliseconds lie between the moment that Optuna knows how a trial ended and the one that its run is closed: a
    process that is killed then leaves a run which seems to have been interrupted.

    Args:
        study: The study.
        connection: The store of its runs.

    Returns:
        How many there were.

    Raises:
        Exception: What MLflow raises.
    """
    recover(left_behind(settings.home_folder()))  # the runs of dead processes may still be in their journals
    store.flush_all()
    client, study_id = connection.client, study.optuna.user_attrs[ID]
    experiments = [each.experiment_id for each in paged(client.search_experiments)]
    wanted = f"tags.`{STUDY_ID}` = '{study_id}' and attributes.status != 'FINISHED'"
    trials = study.optuna.get_trials(deepcopy=False)
    count = 0
    for run in client.search_runs(experiments, wanted, max_results=1000):
        trial = trials[int(run.data.tags[TRIAL])]
        if trial.state.name in {"COMPLETE", "PRUNED"} and is_gone(trial) and "flowml.superseded" not in run.data.tags:
            _close(connection, run, trial, study.metrics)
            count += 1
    return count


def _close(connection: Connection, run: Run, trial: FrozenTrial, names: list[str]) -> None:
    from mlflow.entities import Metric, RunTag

    run_id, now = run.info.run_id, formats.now()
    values = dict(zip(names, trial.values or [], strict=False))
    metrics = [Metric(key, value, now, 0) for key, value in values.items() if key not in run.data.metrics]
    is_pruned = trial.state.name == "PRUNED"
    tags = {MENDED: "true", "prefect.state": "Pruned" if is_pruned else "Completed"}
    if is_pruned:
        tags[PRUNED] = "true"
    connection.client.log_batch(run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])
    ended = round(trial.datetime_complete.timestamp() * 1000) if trial.datetime_complete else now
    connection.client.set_terminated(run_id, status="FINISHED", end_time=ended)
