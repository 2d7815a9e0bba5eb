"""Where the offline store is copied to: where its runs are meant to be, or what somebody says now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from flowml.errors import TrackingError
from flowml.secrets import mask
from flowml.secrets.uris import without_credentials
from flowml.store.backend import offline
from flowml.store.backend.in_force import meant as named_now
from flowml.store.backend.mlflow_state import absolute

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

Target = tuple[str, str | None]
"""A tracking URI, and the registry's, if it is another."""


def choose_target(experiments: Sequence[Experiment], to: str | None, agreed: Callable[[str], bool] | None) -> Target:
    """Choose the store that is copied to.

    Args:
        experiments: Those that are copied; their tags say where their runs are meant to be.
        to: The tracking URI that somebody asked for.
        agreed: Asks somebody whether a sentence is so; None where nobody can be asked.

    Raises:
        TrackingError: If no store is known, if there are several, or if another one than the runs were meant for is
            in force and nobody agrees to it.
    """
    meant = dict[str, str | None]()
    for one in experiments:
        for store in offline.stores_in(one.tags):
            meant[store] = one.tags.get(offline.MEANT_REGISTRY)  # of the newest, where there are several
    named, named_registry = named_now()
    if to is not None:
        return _checked(absolute(to)), meant.get(without_credentials(absolute(to))) or named_registry
    if len(meant) > 1:
        msg = f"these runs are meant for several stores: {', '.join(sorted(meant))}."
        raise TrackingError(msg, remedy="Say where all of them are to go: flowml sync --to URI.")
    if not meant and named is None:
        msg = "nobody has said where these runs are meant to be."
        raise TrackingError(msg, remedy="Say it: flowml sync --to http://host:5000, or set FLOWML_TRACKING_URI.")
    if not meant:
        return _checked(str(named)), named_registry
    ((uri, registry),) = meant.items()
    if named is None or without_credentials(named) == uri:
        return _checked(named or uri), named_registry if named else registry
    question = f"These runs were meant for {uri}, and {mask(named)} is named now. Copy them to {mask(named)}?"
    if agreed is not None and agreed(question):
        return _checked(named), named_registry
    msg = f"these runs were meant for {uri}, and {mask(named)} is named now."
    remedy = f"Say which it is to be: flowml sync --to {uri}, or flowml sync --to {mask(named)}."
    raise TrackingError(msg, remedy=remedy)


def settle(source: MlflowClient, experiments: Sequence[Experiment], to: str) -> None:
    """Note where experiments whose runs were meant for several stores were copied to: it is not asked again.

    Args:
        source: The client of the offline store.
        experiments: What was copied.
        to: The store, without credentials.
    """
    for one in experiments:
        if len(offline.stores_in(one.tags)) > 1:
            source.set_experiment_tag(one.experiment_id, offline.MEANT, to)


def _checked(uri: str) -> str:
    if uri == offline.uri():
        msg = f"{uri} is the offline store itself, which is what is copied."
        raise TrackingError(msg, uri=uri, remedy="Name another: flowml sync --to URI.")
    return uri
