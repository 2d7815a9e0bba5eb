"""Prompts: their versions are added to those that are there, in order, and get numbers of their own."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from flowml.store.backend.paging import paged
from flowml.store.copying import marks, registered
from flowml.store.copying.ends import Copied, Ends
from flowml.store.copying.links import Links
from flowml.store.ledger.ledger import TAG as LEDGER
from flowml.store.ledger.prompts import SCHEME, client_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Prompt
    from mlflow.entities.model_registry import PromptVersion


def copy(ends: Ends, links: Links, done: Copied) -> None:
    """Copy all prompts; the texts are as they were, and an alias goes to the copy unless it was moved there since.

    Args:
        ends: The two stores.
        links: Knows the experiments; gets the numbers of the versions.
        done: Counts what is copied.

    Raises:
        Exception: What MLflow raises.
    """
    for prompt in paged(ends.source.search_prompts):
        with done.refusing(f"the prompt {prompt.name!r}"):  # as a registry does that has no prompts
            _copy_one(ends, prompt, links, done)


def _copy_one(ends: Ends, prompt: Prompt, links: Links, done: Copied) -> None:
    wanted = []
    for version in _versions(ends.source, prompt.name):
        digest = _digest(version)
        if copied := marks.copy_of(version.tags, ends.to, digest):
            links.versions[prompt.name, str(version.version)] = copied
        else:
            wanted.append((version, digest))
    if not wanted:
        return
    if not _make(ends, prompt, links):
        done.refused.append(f"the prompt {prompt.name!r}: a registered model has that name there.")
        return
    there = {one.tags.get(marks.COPIED_FROM): one for one in _versions(ends.target, prompt.name)}
    for version, digest in wanted:
        new = _copy_version(ends, version, there.get(_id(version)), digest)
        links.versions[prompt.name, str(version.version)] = new
        done.prompts += 1


def forget(ends: Ends) -> None:
    """Forget the copies that are noted: the store that they are noted of is another one now."""
    for prompt in list(paged(ends.source.search_prompts)):
        for version in _versions(ends.source, prompt.name):
            if marks.noted(version.tags, ends.to):
                ends.source.delete_prompt_version_tag(prompt.name, str(version.version), marks.SYNCED)


def _versions(client: MlflowClient, name: str) -> list[PromptVersion]:
    """Return the versions of a prompt with their aliases, the first one first."""
    numbers = sorted(int(one.version) for one in paged(partial(client.search_prompt_versions, name)))
    return [found for number in numbers if (found := client.get_prompt_version(name, number))]


def _make(ends: Ends, prompt: Prompt, links: Links) -> bool:
    """Make the prompt, if there is none; return whether there is one then."""
    from mlflow.exceptions import MlflowException
    from mlflow.prompt.constants import PROMPT_EXPERIMENT_IDS_TAG_KEY as USED_IN

    tags = {key: value for key, value in prompt.tags.items() if key != LEDGER}  # each store has its own
    if USED_IN in tags:
        tags[USED_IN] = _listed(links.experiments.get(one) for one in tags[USED_IN].split(","))
    try:
        ends.target.create_prompt(prompt.name, prompt.description, tags)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        there = ends.target.get_prompt(prompt.name)
        if there is None:
            return False
        if USED_IN in tags:
            tags[USED_IN] = _listed([*there.tags.get(USED_IN, "").split(","), *tags[USED_IN].split(",")])
        for key, value in tags.items():
            if key not in there.tags or (key == USED_IN and there.tags[key] != value):
                ends.target.set_prompt_tag(prompt.name, key, value)
    return True


def _listed(experiments: Iterable[str | None]) -> str:
    """Return ids of experiments as MLflow writes them: each with a comma before and after it."""
    return f",{','.join(dict.fromkeys(one for one in experiments if one))},"


def _copy_version(ends: Ends, version: PromptVersion, there: PromptVersion | None, digest: str) -> str:
    """Copy a version; return its number there."""
    name, number, tags = version.name, version.version, marks.without_marks(version.tags)
    if there is None:
        there = ends.target.create_prompt_version(
            name,
            version.template,
            version.commit_message,
            {**tags, marks.COPIED_FROM: _id(version)},
            version.response_format,
            version.model_config,
        )
    new = str(there.version)
    if there.tags.get(marks.COPIED) != digest:
        for key, value in tags.items():
            if there.tags.get(key) != value:
                ends.target.set_prompt_version_tag(name, new, key, value)
        offline = client_of(ends.source, SCHEME + name).get_model_version(name, str(number))
        for alias in version.aliases:
            registered.give(ends, offline, new, alias)
        ends.target.set_prompt_version_tag(name, new, marks.COPIED, digest)
    ends.source.set_prompt_version_tag(name, str(number), marks.SYNCED, marks.Note(ends.to, new, digest).as_tag())
    return new


def _id(version: PromptVersion) -> str:
    """Return what tells a version from those of the same number in other offline stores."""
    return f"{version.name}/{version.version}@{version.creation_timestamp}"


def _digest(version: PromptVersion) -> str:
    tags, aliases = marks.without_marks(version.tags), sorted(version.aliases)
    about = (version.commit_message, version.response_format, version.model_config)
    return marks.digest(version.template, *about, tags, aliases)
