"""Prompts of MLflow's prompt registry, asked for as registered models are: both have versions, aliases and tags.

A decision about a prompt is one about ``prompts:/<name>``. Whoever decides asks `client_of` for the client, and calls
the methods that MLflow has for registered models; for a prompt they are answered from the prompt registry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from flowml import mlflow_limits
from flowml.patches.mlflow import REGISTRY_CLIENT
from flowml.store.backend.paging import paged

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities.model_registry import PromptVersion

SCHEME = "prompts:/"
"""What a prompt's name begins with, where it could be a registered model's."""

_PAGE = 100


def is_prompt(model: str) -> bool:
    """Tell whether a name is a prompt's."""
    return model.startswith(SCHEME)


def bare(model: str) -> str:
    """Return a name as MLflow has it."""
    return model.removeprefix(SCHEME)


def client_of(client: mlflow.MlflowClient, model: str) -> mlflow.MlflowClient:
    """Return the client that answers for a registered model, or for a prompt.

    Args:
        client: MLflow's client.
        model: The registered model's name, or ``prompts:/<name>``.
    """
    if not is_prompt(model) or isinstance(client, _PromptClient):
        return client
    return cast("mlflow.MlflowClient", _PromptClient(client, bare(model)))


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A prompt, as a registered model is."""

    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Version:
    """A version of a prompt, as one of a registered model is: no run has made it, and no model."""

    name: str
    version: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    creation_timestamp: int
    description: str | None
    source: None = None
    model_id: None = None
    run_id: None = None


class _PromptClient:
    """Answers for one prompt what MLflow's client answers for registered models; all else is MLflow's client.

    Args:
        client: MLflow's client.
        name: The prompt's name, as MLflow has it. The names that the methods are given are its.
    """

    def __init__(self, client: mlflow.MlflowClient, name: str) -> None:
        self._client = client
        self._name = name

    def __getattr__(self, method: str) -> Any:
        return getattr(self._client, method)

    def get_registered_model(self, _: str) -> _Prompt:
        """Return the prompt, with its aliases."""
        versions = self._versions()
        next(versions, None)  # which raises if there is no such prompt
        found = self._client.get_prompt(self._name)
        return _Prompt(f"{SCHEME}{self._name}", dict(found.tags) if found else {}, self._aliases())

    def search_registered_models(self, **_: object) -> list[_Prompt]:
        """Return the prompts that there are."""
        return [_Prompt(each.name) for each in self._client.search_prompts(max_results=mlflow_limits.PAGE)]

    def set_registered_model_tag(self, _: str, key: str, value: str) -> None:
        """Tag the prompt."""
        self._client.set_prompt_tag(self._name, key, value)

    def get_model_version(self, _: str, version: str) -> _Version:
        """Return a version."""
        return self._of(self._client.get_prompt_version(self._name, int(version)))

    def get_model_version_by_alias(self, _: str, alias: str) -> _Version:
        """Return the version that has an alias."""
        return self._of(self._client.get_prompt_version_by_alias(self._name, alias))

    def search_model_versions(self, _: str, max_results: int) -> list[_Version]:
        """Return the last versions, whatever the filter says."""
        found = sorted(self._versions(), key=lambda each: -int(each.version))
        return [self._of(each) for each in found[:max_results]]

    def set_registered_model_alias(self, _: str, alias: str, version: str) -> None:
        """Give a version an alias."""
        self._client.set_prompt_alias(self._name, alias, int(version))

    def delete_registered_model_alias(self, _: str, alias: str) -> None:
        """Take an alias away."""
        self._client.delete_prompt_alias(self._name, alias)

    def _aliases(self) -> dict[str, str]:
        """Return all aliases: in one request where MLflow has a way for it, else each version tells its own."""
        if asked := REGISTRY_CLIENT.of(self._client):
            found = asked().get_registered_model(self._name).aliases
            return {str(alias): str(version) for alias, version in found.items()}
        each = (self._client.get_prompt_version(self._name, version.version) for version in self._versions())
        return {alias: str(version.version) for version in each if version for alias in version.aliases}

    def _versions(self) -> Iterator[PromptVersion]:
        return paged(partial(self._client.search_prompt_versions, self._name, max_results=_PAGE))

    def _of(self, found: PromptVersion) -> _Version:
        return _Version(
            f"{SCHEME}{self._name}",
            str(found.version),
            tuple(found.aliases),
            dict(found.tags),
            int(found.creation_timestamp or 0),
            found.commit_message,
        )
