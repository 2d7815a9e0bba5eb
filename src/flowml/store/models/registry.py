"""Makes a logged model a version in MLflow's model registry."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flowml import formats, mlflow_limits, records
from flowml.errors import RegistryError, TrackingError
from flowml.formats import number
from flowml.store.backend import urls
from flowml.store.backend.connection import ui_of
from flowml.store.backend.retrying import may_pass
from flowml.store.ledger import Decision, order, policy
from flowml.store.ledger.moving import HOW, MARKER, Aliases

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion

TAG = "flowml.registered_models"
"""The tag with the versions that were registered in a run and in those below it."""

ABOUT = "flowml.about"
"""The tag with the docstring of the task that made a model."""

CALL = "flowml.call"
"""The tag that tells which call of `flowml.register` made a version, however often its flow runs."""

_WAY_BACK = (
    *("prefect.flow_run_id", "prefect.flow_name", "prefect.flow_run_url"),
    *("prefect.task_run_id", "prefect.task_name", "prefect.task_run_url"),
)
_COMMIT = "mlflow.source.git.commit"
_MOST_ABOUT = 1000  # characters of a docstring in a version's description
_MOST_METRICS = 20  # in a version's description
_EXISTS = "RESOURCE_ALREADY_EXISTS"
_VERSIONS_TAG = "mlflow.modelVersions"  # where MLflow's UI looks for the versions made from a logged model


def register(
    client: mlflow.MlflowClient, name: str, logged: LoggedModel, *, run_id: str, digest: str | None = None
) -> str:
    """Create a version of a registered model from a logged model, and the registered model if there is none yet.

    Args:
        client: The client to send with.
        name: The registered model's name.
        logged: The logged model; it must be uploaded.
        run_id: The run that made it.
        digest: The model's digest, by which a gate's verdict about it is found.

    Returns:
        The version's number.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:  # there already, or created by another run at this moment
        if error.error_code != _EXISTS:
            raise
    source = _source(client, logged)
    version = _made_before(client, name, source, run_id) or client.create_model_version(
        name,
        source,
        run_id=run_id,
        tags=_origin(client, logged, run_id) | ({policy.DIGEST: digest} if digest else {}),
        model_id=logged.model_id,
        description=_description(client, logged, run_id),
    )
    before = json.loads(logged.tags.get(_VERSIONS_TAG, "[]"))  # MLflow's server may have noted it by itself
    made = {"name": name, "version": int(version.version)}
    if (name, str(version.version)) not in {(each["name"], str(each["version"])) for each in before}:
        client.set_logged_model_tags(logged.model_id, {_VERSIONS_TAG: json.dumps([*before, made])})
    return str(version.version)


def promote(  # noqa: PLR0913 - each is given by its name
    client: mlflow.MlflowClient,
    name: str,
    version: str,
    alias: str,
    *,
    run_id: str,
    asked: Mapping[str, Any] | None = None,
) -> bool:
    """Give the version that a run made the alias that its task's marker names; once, however often it is sent.

    Args:
        client: MLflow's client.
        name: The registered model's name.
        version: The version.
        alias: The alias.
        run_id: The run that made it.
        asked: The facts of the move that say when its task returned the model; None for now.

    Returns:
        Whether it has got it: not where it comes so late that a model which was made later has it.

    Raises:
        RegistryError: If the alias is protected, and the version lacks what that takes.
        TrackingError: If it has the alias, and the history of the model cannot be written.
        Exception: What MLflow raises.
    """
    found = client.get_model_version(name, version)
    try:
        return _promote(client, found, alias, run_id, asked)
    except RegistryError:
        raise
    except Exception as error:
        if may_pass(error):
            raise
        policy.check(found, alias, list)  # a protected alias is not moved without its history
        client.set_registered_model_alias(name, alias, version)
        msg = f"{name}@{alias} is version {version} now, which its history does not tell: {error}"
        raise TrackingError(msg) from error


def _promote(
    client: mlflow.MlflowClient, version: ModelVersion, alias: str, run_id: str, asked: Mapping[str, Any] | None
) -> bool:
    aliases, number = Aliases(client, str(version.name)), str(version.version)
    entries = aliases.ledger.entries()
    mine = (run_id, number, alias)
    for one in entries:
        if mine != (one.decision.run_id, one.decision.version, one.decision.alias):
            continue
        if order.was_left(one):
            return False
        if one.is_void:
            continue
        if one.is_settled:
            return True
        # This process, or one that was killed, was not told whether it was made.
        now = aliases.now().get(alias)
        if now in {one.decision.was, number}:
            aliases.carry_out(one, entries)
            return True
        aliases.leave(one, now)  # somebody has moved it since
        aliases.settled(alias)
        return False
    policy.check(version, alias, lambda: entries)
    tags = client.get_run(run_id).data.tags
    moved = aliases.move(
        Decision(
            kind="move",
            version=number,
            alias=alias,
            who=tags.get("mlflow.user", "unknown"),
            why=f"the marker of the task {tags.get('prefect.task_name', '')}".strip(),
            run_id=run_id,
            flow_run_id=tags.get("prefect.flow_run_id"),
            facts={HOW: MARKER, **(asked or {}), **policy.facts_of(version)},
        )
    )
    return not moved.is_late


def _origin(client: mlflow.MlflowClient, logged: LoggedModel, run_id: str) -> dict[str, str]:
    """Return tags that lead from a version to its runs, their pages, the commit, the data and the metrics."""
    run = client.get_run(run_id)
    trained = _training_run(client, logged) or run
    tags = {"flowml.run_id": run_id, "flowml.training_run_id": trained.info.run_id}
    tags |= {key: run.data.tags[key] for key in (*_WAY_BACK, CALL) if key in run.data.tags}
    if commit := trained.data.tags.get(_COMMIT):
        tags[_COMMIT] = commit
    if ui := ui_of(client.tracking_uri):
        page = urls.of_run(trained.info.experiment_id, trained.info.run_id)
        tags["flowml.run_url"] = urls.under(ui, page)
    inputs = trained.inputs.dataset_inputs if trained.inputs else []
    told: dict[str, list[Any]] = {
        "flowml.datasets": [[each.dataset.name, each.dataset.digest] for each in inputs],
        "flowml.metrics": [[each.key, each.value] for each in logged.metrics or []] or [*trained.data.metrics.items()],
    }
    return tags | {key: _within(rows) for key, rows in told.items() if rows}


def _training_run(client: mlflow.MlflowClient, logged: LoggedModel) -> Run | None:
    """Return the run that made the model, which may be another than the one that registers it."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(logged.source_run_id) if logged.source_run_id else None
    except MlflowException as error:  # deleted for good, or of another store
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _within(rows: list[Any]) -> str:
    """Write rows as one mapping that a tag has room for."""
    shown = dict(rows)
    while len(text := json.dumps(shown)) >= mlflow_limits.TAG:
        shown.popitem()
    return text


def _description(client: mlflow.MlflowClient, logged: LoggedModel, run_id: str) -> str:
    """Say where a version comes from and how good it is."""
    tags = client.get_run(run_id).data.tags
    task, flow = tags.get("prefect.task_name"), tags.get("prefect.flow_name")
    parts = [formats.text(logged.name)]
    if task:
        parts.append(f"by the task {formats.link(task, tags.get('prefect.task_run_url'))}")
    if flow:
        parts.append(f"of the flow {formats.link(flow, tags.get('prefect.flow_run_url'))}")
    lines = [" ".join(parts)]
    trained = _training_run(client, logged)
    if about := (trained.data.tags if trained else tags).get(ABOUT):
        lines += ["", formats.text(about, _MOST_ABOUT)]
    metrics = {(each.key, each.dataset_name or ""): each.value for each in logged.metrics or []}
    if not metrics and trained:  # they are linked to the model when it is sent, which may be after this
        metrics = {(key, ""): value for key, value in trained.data.metrics.items()}
    if metrics:
        cells = [(formats.text(key), number(value), formats.text(data)) for (key, data), value in metrics.items()]
        lines += ["", *formats.rows([("Metric", "Value", "Dataset"), *cells[:_MOST_METRICS]])]
    return "\n".join(lines)


def versions_in(tags: Mapping[str, str]) -> tuple[records.RegisteredModel, ...]:
    """Read the registered versions from a run's tags."""
    try:
        return tuple(records.RegisteredModel(*each) for each in json.loads(tags.get(TAG, "[]")))
    except (ValueError, TypeError):  # cut, or somebody else's
        return ()


def as_tag(versions: Iterable[records.RegisteredModel]) -> str:
    """Write versions as such a tag holds them, as many as there is room for."""
    rows = [[version.name, version.version, version.alias] for version in dict.fromkeys(versions)]
    while len(json.dumps(rows)) >= mlflow_limits.TAG:
        rows.pop()
    return json.dumps(rows)


def _made_before(client: mlflow.MlflowClient, name: str, source: str, run_id: str) -> ModelVersion | None:
    """Find the version that an earlier try made, which failed after that."""
    mine = client.search_model_versions(f"run_id = '{run_id}'")
    return next((version for version in mine if (version.name, version.source) == (name, source)), None)


def _source(client: mlflow.MlflowClient, logged: LoggedModel) -> str:
    """Where the version's files are.

    An embedded registry looks ``models:/<id>`` up in the process's global store, which may not be the client's; a
    server looks in its own.
    """
    import mlflow

    is_server = client.tracking_uri.startswith(("http://", "https://"))
    if is_server or client.tracking_uri == mlflow.get_tracking_uri():
        return f"models:/{logged.model_id}"
    return str(logged.artifact_location)
