"""Logs models: serialize in the user's thread, send in the writer's.

Does what ``mlflow.<flavor>.log_model`` does, but through one explicit client instead of MLflow's global state, with
pip requirements found in this process instead of a second one, and a signature and example from the task's inputs.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flowml import formats, mlflow_limits, process, records
from flowml.errors import FlowmlError, RegistryError, TrackingError
from flowml.store.backend import imports
from flowml.store.backend.notifications import Kind, Notification, notify
from flowml.store.journal.journal import TAG as KEY_TAG
from flowml.store.ledger.order import ASKED, ASKED_ON
from flowml.store.models import registry
from flowml.store.models.flavors import mlflow_muted, write
from flowml.store.models.identity import Serialized, autologged_model_id_of, digest_of, unchanged_or_new

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities import LoggedModel, Run

_logger = logging.getLogger(__name__)
_NOT_IN_NAMES = re.compile(r"""[/:.%"']""")  # characters that MLflow refuses in a logged model's name


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A model serialized to private files: later changes to the object cannot change what is logged.

    The files go when the model is sent, or with `discard`. When sending fails they stay, for another attempt.
    """

    name: str
    register: str | None
    alias: str | None
    serialized: Serialized
    autologged: str | None  # the id that MLflow's autologging gave it, perhaps in another run
    notes: tuple[str, ...] = ()  # what its description lacks, and why
    digest: str | None = None  # of one that is registered
    made: int | None = None  # when, in milliseconds since 1970
    made_on: str | None = None  # the machine whose clock said so

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.serialized.folder

    def discard(self) -> None:
        """Let the files go without sending the model."""
        self.serialized.release()


def save(record: records.Model, *, uri: str = "") -> SavedModel:
    """Serialize a model with its signature, input example and exact requirements; once for each model.

    Runs in the thread of the user's task and asks no server. scikit-learn and LightGBM estimators are saved in the safe
    skops format; where that is not possible (a transformer of your own that `Model(trust=...)` does not name, a lambda)
    nothing is lost: the model is saved by cloudpickle, and a warning says what to pass.

    Args:
        record: The model and what the task was given.
        uri: The tracking URI of the store it is for: what that has already is not written again.

    Returns:
        The saved model, for `send`.

    Raises:
        Exception: Whatever the model's library or MLflow raises when the model cannot be serialized.
    """
    notes: tuple[str, ...] = ()
    if record.register:
        imports.load_registry()  # now: the thread that sends imports nothing

    def write_quietly(folder: Path) -> None:
        nonlocal notes
        with mlflow_muted():
            notes = write(record, folder)

    name = _NOT_IN_NAMES.sub("_", record.name) or "model"
    serialized = unchanged_or_new(record.value, name, is_wanted=record.is_named)
    serialized.hold(uri, write_quietly)
    for note in notes:
        _logger.info("Model %r: %s.", name, note)
    return SavedModel(
        name=name,
        register=record.register,
        alias=record.alias,
        serialized=serialized,
        autologged=autologged_model_id_of(record.value),
        notes=notes,
        digest=digest_of(record.value) if record.register else None,
        made=formats.now(),
        made_on=process.machine(),
    )


def send(
    client: mlflow.MlflowClient,
    saved: SavedModel,
    *,
    run_id: str,
    experiment_id: str,
    params: Mapping[str, str] | None = None,
) -> str:
    """Create the logged model, upload it, and link it to its run; register it if that was asked.

    A model that was logged before is linked and registered, not logged again.

    Args:
        client: The client to send with; MLflow's global state is not touched.
        saved: What `save` returned.
        run_id: The run that made the model.
        experiment_id: The run's experiment.
        params: Parameters of the run that MLflow has only when it ends; they are the model's too.

    Returns:
        The id of the logged model, which loads as ``models:/<id>`` and ``runs:/<run id>/<name>``.

    Raises:
        RegistryError: If the alias is protected; all else is done.
        Exception: Whatever MLflow raises. The logged model is then marked as failed, and `saved` can be sent again: to
            the same logged model.
    """
    from mlflow.entities import LoggedModelOutput

    run = client.get_run(run_id)
    refused: FlowmlError | None = None
    before = _logged_before(client, saved, run_id)
    model = before or _upload(client, saved, run, experiment_id, params or {})
    saved.serialized.ids[client.tracking_uri] = str(model.model_id)  # now: what follows may have to be tried again
    tell = partial(_tell, client, run, model)
    if before is None:
        tell("model logged", {})
    if model.model_id not in {output.model_id for output in (run.outputs.model_outputs if run.outputs else [])}:
        client.log_outputs(run_id, models=[LoggedModelOutput(model.model_id, step=0)])
    if saved.register:
        version = registry.register(client, saved.register, model, run_id=run_id, digest=saved.digest)
        alias = saved.alias
        try:
            asked = None if saved.made is None else {ASKED: saved.made, ASKED_ON: saved.made_on}
            if alias and not registry.promote(client, saved.register, version, alias, run_id=run_id, asked=asked):
                alias = None
        except RegistryError as error:
            refused, alias = error, None
        except TrackingError as error:
            refused = error
        made = records.RegisteredModel(saved.register, version, alias)
        versions = [*registry.versions_in(run.data.tags), made]
        client.set_tag(run_id, registry.TAG, registry.as_tag(versions))
        registered = {"model": saved.register, "version": version}
        tell("model registered", registered)
        if alias:
            tell("model promoted", {**registered, "alias": alias})
    saved.discard()
    if refused:
        raise refused
    return str(model.model_id)


def _tell(client: mlflow.MlflowClient, run: Run, model: LoggedModel, kind: Kind, facts: Mapping[str, str]) -> None:
    all_facts = {**facts, "model_id": str(model.model_id), "name": str(model.name)}
    notify(Notification(kind, client, run.info.experiment_id, run.info.run_id, run.data.tags, all_facts))


def _logged_before(client: mlflow.MlflowClient, saved: SavedModel, run_id: str) -> LoggedModel | None:
    """Return the model that this object was logged as, as it is: by flowml, by hand, or by MLflow's autologging."""
    from mlflow.exceptions import MlflowException

    known = saved.serialized.ids.get(client.tracking_uri)
    try:
        if known:
            return client.get_logged_model(known)
        model = client.get_logged_model(saved.autologged) if saved.autologged else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # deleted since, or of another store
            raise
        return None
    return model if model is not None and model.source_run_id == run_id else None


def _upload(
    client: mlflow.MlflowClient, saved: SavedModel, run: Run, experiment_id: str, params: Mapping[str, str]
) -> LoggedModel:
    from mlflow.entities import LoggedModelStatus

    run_id, begun = run.info.run_id, saved.serialized.begun
    mine = client.tracking_uri, run_id
    created = begun.get(mine) or _begun_before(client, saved, run_id, experiment_id)
    if created is None:
        saved.serialized.tried.add(mine)  # its answer may be lost
        created = client.create_logged_model(
            experiment_id,
            name=saved.name,
            source_run_id=run_id,
            params={**params, **run.data.params},
            tags={KEY_TAG: saved.serialized.key},
        )
    begun[mine] = created
    if created.status != LoggedModelStatus.READY:  # else all of its files are there, and perhaps no longer here
        try:
            _write_identity(saved.folder, created.artifact_location, created.model_id, run_id)
            client.log_model_artifacts(created.model_id, str(saved.folder))
            client.finalize_logged_model(created.model_id, "READY")
        except BaseException:
            _mark_failed(client, created.model_id)
            raise
    _link_metrics(client, run_id, list(run.data.metrics), created.model_id)
    del begun[client.tracking_uri, run_id]
    return created


def _begun_before(
    client: mlflow.MlflowClient, saved: SavedModel, run_id: str, experiment_id: str
) -> LoggedModel | None:
    """Find the logged model that an earlier try made, whose answer was lost, or whose process was killed."""
    if not saved.serialized.is_restored and (client.tracking_uri, run_id) not in saved.serialized.tried:
        return None
    found = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}' AND name = '{saved.name}'")
    return next((each for each in found if each.tags.get(KEY_TAG) == saved.serialized.key), None)


def _write_identity(folder: Path, location: str, model_id: str, run_id: str) -> None:
    """Write into the MLmodel file what is known only once the server has a logged model."""
    from mlflow.models import Model

    description = Model.load(str(folder))
    description.artifact_path = location
    description.model_uuid = description.model_id = model_id
    description.run_id = run_id
    description.save(str(folder / "MLmodel"))


def _mark_failed(client: mlflow.MlflowClient, model_id: str) -> None:
    try:
        client.finalize_logged_model(model_id, "FAILED")
    except Exception:
        # The caller hears of the error that came first; this one says only that the mark is missing.
        _logger.warning("The logged model %s could not be marked as failed.", model_id, exc_info=True)


def _link_metrics(client: mlflow.MlflowClient, run_id: str, keys: list[str], model_id: str) -> None:
    """Show the run's first-step metrics beside the model, as log_model does."""
    from mlflow.entities import Metric

    linked = [
        Metric(metric.key, metric.value, metric.timestamp, metric.step, model_id=model_id, run_id=run_id)
        for key in keys
        for metric in client.get_metric_history(run_id, key)
        if metric.step == 0
        and metric.model_id is None
        and not math.isnan(metric.value)  # MLflow makes a model's NaN 0.0
    ]
    for start in range(0, len(linked), mlflow_limits.BATCH):
        client.log_batch(run_id, metrics=linked[start : start + mlflow_limits.BATCH])
