"""Removes from the offline store what is copied completely, and remembers which copy is whose."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing, redirect_stdout, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from flowml import settings
from flowml.errors import TrackingError
from flowml.store.copying import logged_models, marks, registered, runs, traces
from flowml.store.copying.ends import Ends
from flowml.store.copying.files import local_folder
from flowml.store.copying.run_data import in_parts

if TYPE_CHECKING:
    from mlflow.entities import Run

_AT_ONCE = 200  # ids in one call
_logger = logging.getLogger("prefect.flowml")


@dataclass
class Memory:
    """What is not in the offline store any more, in a file beside it.

    Attributes:
        ids: The new ids of runs and logged models, by the store of the copies and the old ids: what comes later may
            name them.
        runs: Runs that are marked for removal, and may be left from a prune that was interrupted.
        models: Logged models, likewise.
    """

    ids: dict[str, dict[str, str]] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    @classmethod
    def read(cls) -> Memory:
        """Read it."""
        file = _file()
        try:
            return cls(**json.loads(file.read_text())) if file.exists() else cls()
        except (ValueError, TypeError) as error:
            text = f"{file}, which has the copies of what was removed here, cannot be read: {error}."
            remedy = "Bring it back from a backup, or move it away: links to what was removed stay as they are then."
            raise TrackingError(text, remedy=remedy) from None

    def write(self) -> None:
        """Write it, in one step."""
        new = _file().with_suffix(".new")
        new.write_text(json.dumps(vars(self)))
        new.replace(_file())


def prune(ends: Ends, experiments: Iterable[str]) -> int:
    """Remove the runs that are copied with all above and below them, and the models, versions and traces of these.

    Args:
        ends: The two stores.
        experiments: The ids of the experiments, in the store that is read.

    Returns:
        How many runs were removed.

    Raises:
        Exception: What MLflow raises.
    """
    memory = Memory.read()
    gone, models = dict[str, str](), dict[str, str]()
    for experiment_id in experiments:
        gone |= {run.info.run_id: _new_id(run.data.tags) for run in _prunable(ends, experiment_id)}
        models |= {
            model.model_id: _new_id(model.tags)
            for model in logged_models.all_of(ends.source, experiment_id)
            if model.source_run_id in gone
        }
    memory.ids.setdefault(ends.to, {}).update({**gone, **models})
    memory.runs += gone
    memory.models += models
    memory.write()  # before anything is removed
    for experiment_id in experiments:
        _remove_traces(ends, experiment_id, gone)
    _remove_versions(ends, {*gone, *models})
    for model_id in models:
        ends.source.delete_logged_model(model_id)
    for run_id in gone:
        ends.source.delete_run(run_id)
    memory.runs = _collected(ends.source.tracking_uri, "--run-ids", memory.runs)
    memory.models = _collected(ends.source.tracking_uri, "--logged-model-ids", memory.models)
    memory.write()
    _give_room_back(ends.source.tracking_uri)
    return len(gone)


def _prunable(ends: Ends, experiment_id: str) -> Iterator[Run]:
    """Go through the runs that are copied, and of whose flow all is."""
    families = defaultdict[str, list["Run"]](list)
    parents = {
        run.info.run_id: run.data.tags.get("mlflow.parentRunId", "") for run in runs.all_of(ends.source, experiment_id)
    }
    kept = {
        model.source_run_id
        for model in logged_models.all_of(ends.source, experiment_id)
        if not logged_models.is_copied(model, ends.to)
    }
    for run in runs.all_of(ends.source, experiment_id):
        outermost = run.info.run_id
        for _ in parents:
            if parents.get(outermost) not in parents:
                break
            outermost = parents[outermost]
        families[run.data.tags.get("flowml.root_run_id", outermost)].append(run)
    for family in families.values():
        if all(runs.is_copied(ends.source, run, ends.to) and run.info.run_id not in kept for run in family):
            yield from family


def _remove_traces(ends: Ends, experiment_id: str, gone: Iterable[str]) -> None:
    of_gone = {*gone, None}
    done = [
        info
        for info in traces.all_of(ends.source, experiment_id)
        if traces.is_copied(info, ends.to) and info.trace_metadata.get("mlflow.sourceRun") in of_gone
    ]
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


def _collected(uri: str, option: str, ids: list[str]) -> list[str]:
    """Do what ``mlflow gc`` does; return what is left, which the next prune tries again."""
    left = list[str]()
    for some in in_parts(ids, _AT_ONCE):
        try:
            _collect(uri, option, some)
        except Exception:  # noqa: BLE001 - which of them it is, is found out
            left += [one for one in some if not _is_collected(uri, option, one)]
    return left


def _is_collected(uri: str, option: str, one: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        _collect(uri, option, [one])
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


def _give_room_back(uri: str) -> None:
    """Make the database's file smaller, if nobody uses it now."""
    path = Path(uri.removeprefix("sqlite:///"))
    if path.is_file():
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path, timeout=1)) as database:
            database.execute("VACUUM")


def _collect(uri: str, option: str, ids: list[str]) -> None:
    from mlflow.cli import gc

    words = ["--backend-store-uri", uri, "--tracking-uri", uri, option, ",".join(ids)]
    with redirect_stdout(StringIO()):
        gc.main(words, standalone_mode=False)


def _new_id(tags: dict[str, str]) -> str:
    note = marks.Note.in_tags(tags)
    return note.id if note else ""


def _file() -> Path:
    return settings.home_folder() / "offline-copied.json"
