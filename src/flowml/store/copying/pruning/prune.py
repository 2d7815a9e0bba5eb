"""Removes what is copied completely, and remembers which copy is whose."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowml.patches.mlflow import CLIENTS_STORE, REMOVE_MODEL, REMOVE_RUN
from flowml.store.copying import marks, registered, traces
from flowml.store.copying.ends import Ends
from flowml.store.copying.files import local_folder
from flowml.store.copying.pruning.copies import look_up, look_up_versions
from flowml.store.copying.pruning.memory import Memory
from flowml.store.copying.run_data import in_parts

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo

_AT_ONCE = 200  # ids in one call
_logger = logging.getLogger("prefect.flowml")


def prune_copied(ends: Ends, experiments: Iterable[str]) -> tuple[int, list[str]]:
    """Remove the runs that are copied with all above and below them, and the models, versions and traces of these.

    Args:
        ends: The two stores; the one that was written is asked for each copy.
        experiments: The ids of the experiments, in the store that is read.

    Returns:
        How many runs were removed, and what is copied but was not removed, for it has no copy any more.

    Raises:
        Exception: What MLflow raises.
    """
    memory, versions = Memory.read(), look_up_versions(ends)
    copies = {one: look_up(ends, ends.source.get_experiment(one), versions) for one in experiments}
    gone = {run.info.run_id: _new_id(run.data.tags) for one in copies.values() for run in one.runs}
    models = {model.model_id: _new_id(model.tags) for one in copies.values() for model in one.models}
    memory.ids.setdefault(ends.to, {}).update({**gone, **models})
    memory.runs += gone
    memory.models += models
    memory.write()  # before anything is removed
    for experiment_id, one in copies.items():
        _remove_traces(ends, experiment_id, [info for info in one.traces if traces.run_of(info) in {*gone, ""}])
    _remove_versions(ends, {*gone, *models})
    for model_id in models:
        ends.source.delete_logged_model(model_id)
    for run_id in gone:
        ends.source.delete_run(run_id)
    # Not by `mlflow gc`: it also removes what else is deleted here, which nobody has copied and somebody may restore.
    store = getattr(CLIENTS_STORE.of(ends.source), "store", None)
    memory.runs = _collected(store, _remove_run, memory.runs)
    memory.models = _collected(store, _remove_model, memory.models)
    memory.write()
    _give_room_back(ends.source.tracking_uri)
    return len(gone), versions.missing + [each for one in copies.values() for each in one.missing]


def _remove_traces(ends: Ends, experiment_id: str, done: Sequence[TraceInfo]) -> None:
    for some in in_parts(done, _AT_ONCE // 2):
        ends.source.delete_traces(experiment_id, trace_ids=[info.trace_id for info in some])
    for info in done:
        folder = local_folder(info.tags.get("mlflow.artifactLocation", "none:"))
        if folder:
            shutil.rmtree(folder, ignore_errors=True)  # MLflow leaves it


def _remove_versions(ends: Ends, gone: Iterable[str]) -> None:
    of_gone = set(gone)
    for model in list(registered.all_of(ends.source)):
        versions = registered.versions_of(ends.source, model.name)
        done = [one for one in versions if registered.made_from(one) & of_gone and registered.is_copied(one, ends.to)]
        for version in done:
            ends.source.delete_model_version(model.name, str(version.version))
        if done and len(done) == len(versions):
            ends.source.delete_registered_model(model.name)


def _collected(store: Any, remove: Callable[[Any, str], None], ids: list[str]) -> list[str]:
    """Remove what is marked for that; return what is left, which the next prune tries again."""
    return [one for one in ids if not _is_collected(store, remove, one)]


def _is_collected(store: Any, remove: Callable[[Any, str], None], one: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        remove(store, one)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return True  # an earlier prune was interrupted
        why = str(error)
    except Exception as error:  # noqa: BLE001 - it is said
        why = repr(error)
    else:
        return True
    _logger.warning("flowml: %s is copied, but cannot be removed here: %s. The next `--prune` tries again.", one, why)
    return False


def _remove_run(store: Any, run_id: str) -> None:
    run = store.get_run(run_id)
    if run.info.lifecycle_stage == "deleted":  # else somebody has restored it since an interrupted prune
        _remove_files(store, run.info.artifact_uri)
        REMOVE_RUN.of(store)(run_id)


def _remove_model(store: Any, model_id: str) -> None:
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):
        store.get_logged_model(model_id)
        return  # likewise
    _remove_files(store, store.get_logged_model(model_id, allow_deleted=True).artifact_location)
    REMOVE_MODEL.of(store)(model_id)


def _remove_files(store: Any, place: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(place, store.db_uri).delete_artifacts()


def _give_room_back(uri: str) -> None:
    """Make the database's file smaller, if nobody uses it now."""
    path = Path(uri.removeprefix("sqlite:///"))
    if path.is_file():
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path, timeout=1)) as database:
            database.execute("VACUUM")


def _new_id(tags: dict[str, str]) -> str:
    note = marks.Note.in_tags(tags)
    return note.id if note else ""
