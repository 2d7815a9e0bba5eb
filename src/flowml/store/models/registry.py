"""Makes a logged model a version in MLflow's model registry."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from flowml import formats, mlflow_limits, records
from flowml.formats import number
from flowml.store.ledger import Decision, policy
from flowml.store.ledger.moving import HOW, MADE_OF, MARKER, Aliases

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

TAG = "flowml.registered_models"
"""The tag with the versions that were registered in a run and in those below it."""

_MOST_METRICS = 20  # in a version's description
_EXISTS = "RESOURCE_ALREADY_EXISTS"
_VERSIONS_TAG = "mlflow.modelVersions"  # where MLflow's UI looks for the versions made from a logged model


def register(client: mlflow.MlflowClient, name: str, logged: LoggedModel, *, run_id: str) -> str:
    """Create a version of a registered model from a logged model, and the registered model if there is none yet.

    Args:
        client: The client to send with.
        name: The registered model's name.
        logged: The logged model; it must be uploaded.
        run_id: The run that made it.

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
        tags={"flowml.run_id": run_id},
        model_id=logged.model_id,
        description=_description(client, logged, run_id),
    )
    before, made = json.loads(logged.tags.get(_VERSIONS_TAG, "[]")), {"name": name, "version": version.version}
    if made not in before:
        client.set_logged_model_tags(logged.model_id, {_VERSIONS_TAG: json.dumps([*before, made])})
    return str(version.version)


def promote(client: mlflow.MlflowClient, name: str, version: str, alias: str, *, run_id: str) -> None:
    """Give the version that a run made the alias that its task's marker names; once, however often it is sent.

    Raises:
        RegistryError: If the alias is protected, and the version lacks what that takes.
    """
    aliases = Aliases(client, name)
    entries = aliases.ledger.entries()
    if any(
        (one.decision.run_id, one.decision.version, one.decision.alias) == (run_id, version, alias) for one in entries
    ):
        aliases.settled(alias)
        return
    made_of = client.get_model_version(name, version).model_id
    policy.check(name, alias, version, made_of, entries)
    tags = client.get_run(run_id).data.tags
    aliases.move(
        Decision(
            kind="move",
            version=version,
            alias=alias,
            who=tags.get("mlflow.user", "unknown"),
            why=f"the marker of the task {tags.get('prefect.task_name', '')}".strip(),
            run_id=run_id,
            flow_run_id=tags.get("prefect.flow_run_id"),
            facts={HOW: MARKER, MADE_OF: made_of or None},
        )
    )


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
    metrics = {(each.key, each.dataset_name or ""): each.value for each in logged.metrics or []}
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
