"""Registered models: their versions are added to those that are there, in order, and get numbers of their own."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from flowml import formats
from flowml.errors import RegistryError, TrackingError
from flowml.secrets import mask
from flowml.store.backend.paging import paged
from flowml.store.backend.retrying import may_pass
from flowml.store.copying import marks
from flowml.store.copying.ends import Copied, Ends, existing
from flowml.store.copying.links import Links
from flowml.store.ledger import Decision, Entry, Ledger, policy, this_user
from flowml.store.ledger.ledger import TAG as LEDGER
from flowml.store.ledger.moving import COPIED, HOW, Aliases
from flowml.store.ledger.order import ASKED, last_move
from flowml.store.ledger.prompts import bare, client_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

_logger = logging.getLogger(__name__)


def copy(ends: Ends, links: Links, done: Copied) -> None:
    """Copy the registered models of which a version was made by a run, or from a logged model, that was copied.

    Args:
        ends: The two stores.
        links: Knows those; gets the numbers of the versions.
        done: Counts what is copied.

    Raises:
        Exception: What MLflow raises.
    """
    for model in all_of(ends.source):
        with done.refusing(f"the registered model {model.name!r}"):  # as a registry does that lets nobody register one
            _copy_one(ends, model, links, done)


def _copy_one(ends: Ends, model: RegisteredModel, links: Links, done: Copied) -> None:
    wanted = []
    for version in versions_of(ends.source, model.name):
        digest = _digest(version)
        if copied := marks.copy_of(version.tags, ends.to, digest):
            links.versions[model.name, str(version.version)] = copied
        elif made_from(version) & links.ids.keys():
            wanted.append((version, digest))
        elif made_from(version).difference(done.deleted):
            done.refused.append(f"{_named(version)}: what it was made from is deleted here.")
    if not wanted:
        return
    if not _make_model(ends, model, links):
        done.refused.append(f"the registered model {model.name!r}: a prompt has that name there.")
        return
    there = {one.tags.get(marks.COPIED_FROM): one for one in _search(ends.target, model.name)}
    for version, digest in wanted:
        _copy_version(ends, (version, digest), there.get(_id(version)), links, done)


def all_of(source: MlflowClient) -> Iterator[RegisteredModel]:
    """Go through the registered models that are copied from."""
    yield from paged(source.search_registered_models)


def versions_of(source: MlflowClient, name: str) -> list[ModelVersion]:
    """Return the versions of a registered model with their aliases, the first one first."""
    by_number = sorted(_search(source, name), key=lambda version: int(version.version))
    return [source.get_model_version(name, str(version.version)) for version in by_number]


def is_copied(version: ModelVersion, to: str | None = None) -> bool:
    """Tell whether all that a version holds now was copied, to a store or to any."""
    return marks.is_copied(version.tags, _digest(version), to)


def copied_there(ends: Ends, versions: Sequence[ModelVersion]) -> list[ModelVersion]:
    """Return of which versions of a registered model there are copies in the other store."""
    names = {version.name for version in versions}
    there = {one.tags.get(marks.COPIED_FROM) for name in names for one in _search(ends.target, name)}
    return [version for version in versions if _id(version) in there]


def _search(client: MlflowClient, name: str) -> Iterator[ModelVersion]:
    quote = '"' if "'" in name else "'"
    mine = f"name={quote}{name}{quote}" if quote not in name else None  # MLflow has no way to write such a name
    yield from (one for one in paged(partial(client.search_model_versions, mine)) if one.name == name)


def _make_model(ends: Ends, model: RegisteredModel, links: Links) -> bool:
    """Make the registered model, if there is none; return whether there is one then."""
    from mlflow.exceptions import MlflowException

    tags = {key: value for key, value in model.tags.items() if key != LEDGER}  # each store has its own
    try:
        ends.target.create_registered_model(model.name, links.of_tags(tags), model.description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        there = existing(ends.target.get_registered_model, model.name)
        if there is None:
            return False
        for key, value in tags.items():
            if key not in there.tags:
                ends.target.set_registered_model_tag(model.name, key, links.rewritten(value))
        if model.description and not there.description:
            ends.target.update_registered_model(model.name, model.description)
    return True


def _copy_version(
    ends: Ends, wanted: tuple[ModelVersion, str], there: ModelVersion | None, links: Links, done: Copied
) -> None:
    version, digest = wanted
    name, tags = version.name, links.of_tags(marks.without_marks(version.tags))
    if there is None:
        there = _create(ends, version, {**tags, marks.COPIED_FROM: _id(version)}, links, done)
        if there is None:
            return
    new = str(there.version)
    links.versions[name, str(version.version)] = new
    if version.description and there.description != (told := links.rewritten(version.description)):
        ends.target.update_model_version(name, new, told)
    if there.tags.get(marks.COPIED) != digest:
        for key, value in tags.items():
            if there.tags.get(key) != value:
                ends.target.set_model_version_tag(name, new, key, value)
        for alias in version.aliases:
            give(ends, version, new, alias)
        ends.target.set_model_version_tag(name, new, marks.COPIED, digest)
        done.versions += 1
    note = marks.Note(ends.to, new, digest)
    ends.source.set_model_version_tag(name, str(version.version), marks.SYNCED, note.as_tag())


def give(ends: Ends, version: ModelVersion, new: str, alias: str) -> None:
    """Give a copied version an alias that it had; a protected one stays where it is, and one that was moved since."""
    aliases = Aliases(ends.target, version.name)
    made = client_of(ends.target, version.name).get_model_version(version.name, new)
    try:
        policy.check(made, alias, aliases.ledger.entries)
    except RegistryError as error:
        _logger.warning("flowml: %s", error)
        return
    asked = _given_at(ends, version, alias, last_move(aliases.settled(alias), alias))
    decision = Decision(
        kind="move",
        version=new,
        alias=alias,
        who=this_user(),
        why="copied from a store of runs that were tracked offline",
        facts={HOW: COPIED, ASKED: asked, **policy.facts_of(made)},
    )
    aliases.move(decision)


def _given_at(ends: Ends, version: ModelVersion, alias: str, there: Entry | None) -> int | None:
    """Return when a version got an alias offline, as far as it is known.

    Args:
        ends: The two stores.
        version: The version.
        alias: The alias.
        there: The last move of the alias in the other store.
    """
    try:
        last = last_move(Ledger(ends.source, version.name).entries(), alias)
    except TrackingError:  # somebody has deleted it
        last = None
    if last and last.decision.version == str(version.version):
        return last.decision.at
    if there and there.decision.facts.get(HOW) == COPIED and _is_from(ends, version.name, there.decision.version):
        return formats.now()  # nobody moved it there since it was copied from here, so it was moved here
    made = version.creation_timestamp
    return None if made is None else int(made)


def _is_from(ends: Ends, name: str, number: str | None) -> bool:
    """Tell whether a version in the other store is a copy of one in this store."""
    from mlflow.exceptions import MlflowException

    if number is None:
        return False
    try:
        origin = client_of(ends.target, name).get_model_version(name, number).tags.get(marks.COPIED_FROM, "")
        offline = origin.rpartition("@")[0].rpartition("/")[2]
        here = client_of(ends.source, name).get_model_version(name, offline) if offline else None
    except MlflowException as error:  # somebody has deleted one of them
        if may_pass(error):
            raise
        return False
    return here is not None and origin == _id(here)


def _create(
    ends: Ends, version: ModelVersion, tags: Mapping[str, str], links: Links, done: Copied
) -> ModelVersion | None:
    """Make a version; None if the registry takes none from there, such as from a folder of this machine."""
    from mlflow.exceptions import MlflowException

    model_id = links.ids.get(policy.model_id_of(version) or "")
    run_id = links.ids.get(version.run_id or "", version.run_id)
    # A registry in a database asks the process's store for the run of a model that is named without one.
    is_asked = run_id or ends.target.tracking_uri.startswith(("http", "databricks"))
    try:
        return ends.target.create_model_version(
            version.name,
            _source(ends, version, model_id, links),
            run_id=run_id,
            tags=dict(tags),
            description=links.rewritten(version.description) if version.description else None,
            model_id=model_id if is_asked else None,
        )
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        done.refused.append(f"{_named(version)}: {mask(str(error))[:300]}")
        return None


def _source(ends: Ends, version: ModelVersion, model_id: str | None, links: Links) -> str:
    """Return where the version's files are there.

    A server asks for the model's id in place of its folder; a registry in a database looks that id up in the process's
    store, which is another one here.
    """
    old = str(version.source)
    if model_id:
        if ends.target.tracking_uri.startswith("http") and not ends.registry_apart:
            return f"models:/{model_id}"
        return str(ends.target.get_logged_model(model_id).artifact_location)
    if version.run_id in links.ids:
        here, there = ends.source.get_run(version.run_id), ends.target.get_run(links.ids[version.run_id])
        old = old.replace(here.info.artifact_uri, there.info.artifact_uri)
    return links.rewritten(old)


def _named(version: ModelVersion) -> str:
    return f"{version.name} version {version.version}"


def _id(version: ModelVersion) -> str:
    """Return what tells a version from those of the same number in other offline stores."""
    return f"{bare(version.name)}/{version.version}@{version.creation_timestamp}"


def made_from(version: ModelVersion) -> set[str]:
    """Return the ids of what a version was made from."""
    return {one for one in (version.run_id, policy.model_id_of(version)) if one}


def _digest(version: ModelVersion) -> str:
    tags = marks.without_marks(version.tags)
    return marks.digest(version.source, version.run_id, version.description, tags, sorted(version.aliases))
