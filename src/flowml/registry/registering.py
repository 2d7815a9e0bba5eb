"""Registers a model as a tracked task: the version says where it comes from, and a retry makes no second one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from prefect.cache_policies import NO_CACHE

from flowml import describe, records
from flowml.capture import contexts
from flowml.capture.attempts import nth
from flowml.capture.reading import connection_here
from flowml.capture.session import Session, current
from flowml.decorators import task
from flowml.errors import RegistryError
from flowml.options import Model, Skip, Track
from flowml.registry.moves import legal_alias
from flowml.store import NO_RUN, flush_all
from flowml.store.ledger import policy
from flowml.store.ledger.ledger import EXPERIMENT
from flowml.store.models import registry
from flowml.store.models.identity import digest_of

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities.model_registry import ModelVersion

_OTHER = (
    "flowml: register returns %s, which an earlier attempt of this run made, and makes no version of the model that it "
    "is given now, which is another one. Give the task that trains persist_result=True, so that each attempt has the "
    "same model. To have the new one registered, run the flow anew."
)


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version of a registered model.

    Attributes:
        name: The registered model's name.
        version: The version's number.
    """

    name: str
    version: str

    def __str__(self) -> str:
        """Name it as `load_model` takes it."""
        return f"{self.name}/{self.version}"


def register(
    model: Any, name: str, *, alias: str | None = None, tags: Mapping[str, str] | None = None
) -> RegisteredVersion:
    """Make a model a new version of a registered model.

    A model that flowml has logged already is linked, not stored twice. Where the code of the same flow run runs again,
    because it is tried again or was suspended, the version that it made before is returned; a warning says so where the
    model is another one by now.

    Args:
        model: The model.
        name: The registered model's name; it is created if there is none.
        alias: An alias for the version.
        tags: Tags for the version.

    Returns:
        The version.

    Raises:
        RegistryError: If MLflow has no way to save the model, takes no such name, alias or tag, or nothing is tracked
            here; nothing was changed then. Or if the alias is protected: the version is there then, without it.
        TrackingError: If MLflow cannot be reached.

    Example:
        >>> candidate = flowml.register(model, "churn", tags={"team": "risk"})
        >>> candidate.version
        '7'
    """
    _check(name, tags)
    alias = None if alias is None else legal_alias(alias)
    return _register(model, name, alias, dict(tags or {}), _call(name))


@task(name="register", track=Track(experiment=EXPERIMENT, outputs=False), cache_policy=NO_CACHE)
def _register(
    model: Annotated[Any, Skip()],
    name: str,
    alias: str | None,
    tags: Annotated[Mapping[str, str], Skip()],
    call: Annotated[str | None, Skip()],
) -> RegisteredVersion:
    """Make a model a new version of a registered model."""
    session = current()
    run = session.run.info if session and session.run is not NO_RUN else None
    if session is None or run is None:
        msg = f"flowml.register({name!r}) is called where nothing is tracked, so that no run could tell of the version."
        raise RegistryError(msg)
    client = connection_here().client
    before = _made_by(client, name, call) if call else None
    version = str(before.version) if before else _make(client, session, run.run_id, (model, name, alias, call))
    if before and before.tags.get(policy.DIGEST) != digest_of(model):
        session.call.log.warning(_OTHER, f"{name}/{version}")
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)
    if alias:
        _give(client, name, version, alias)
    session.put([records.Tag("flowml.model_version", f"{name}/{version}")])
    return RegisteredVersion(name, version)


def _make(
    client: mlflow.MlflowClient, session: Session, run_id: str, wanted: tuple[Any, str, str | None, str | None]
) -> str:
    """Log the model to this run, which links it where it is logged already; the version is made with it."""
    model, name, alias, call = wanted
    found = describe.outputs(model, name, Annotated[Any, Model(register=name, alias=alias)])
    made = [record for record in found if isinstance(record, records.Model)]
    if not made:
        msg = f"MLflow has no way to save a {type(model).__name__}, so it cannot be registered as {name!r}."
        raise RegistryError(msg)
    if call:
        session.put([records.Tag(registry.CALL, call)])
        flush_all()  # the version takes it from the run
    session.put([*made])
    flush_all()
    known = registry.versions_in(client.get_run(run_id).data.tags)
    version = next((each.version for each in known if each.name == name), None)
    if version is None:
        msg = f"{name!r} has no new version: the log of this flow run says what MLflow did not take."
        raise RegistryError(msg)
    return version


def _give(client: mlflow.MlflowClient, name: str, version: str, alias: str) -> None:
    """See that the version has got its alias: it was refused, or an earlier attempt ended before that."""
    made_by = str(client.get_model_version(name, version).run_id)
    try:
        registry.promote(client, name, version, alias, run_id=made_by)
    except RegistryError as error:
        why = str(error).removesuffix(" Nothing was changed.")  # the version is there
        msg = f"{name}/{version} is registered, without the alias {alias!r}. {why}"
        raise RegistryError(msg) from None


def _check(name: object, tags: Mapping[str, str] | None) -> None:
    """See that MLflow takes a name and tags, before anything is made.

    Raises:
        RegistryError: If it does not.
    """
    if not isinstance(name, str) or not name.strip() or re.search("[/:]", name):
        msg = f"{name!r} cannot be a registered model's name. MLflow takes text without / and :. Nothing was changed."
        raise RegistryError(msg)
    if not isinstance(tags or {}, Mapping) or not all(isinstance(key, str) and key for key in tags or ()):
        msg = f"register(tags=...) takes texts by their names, not {tags!r}. Nothing was changed."
        raise RegistryError(msg)


def _made_by(client: mlflow.MlflowClient, name: str, call: str) -> ModelVersion | None:
    """Return the version that this very call has made, when the flow's code ran before."""
    mine = client.search_model_versions(f"tags.`{registry.CALL}` = '{call}'")
    return next((each for each in mine if each.name == name), None)


def _call(name: str) -> str | None:
    """Name this call: the same when the code of its flow run, or task run, runs again; None outside of both."""
    task_here, flow_here = contexts.task_here(), contexts.flow_here()
    run = task_here.task_run if task_here else flow_here.flow_run if flow_here else None
    return f"{run.id}/{nth(run.id, run.run_count, name)}" if run else None
