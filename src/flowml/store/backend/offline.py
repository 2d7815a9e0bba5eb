"""Offline by choice: runs go to a store of the project's own, whatever else is named, until ``flowml sync`` copies it.

MLflow's own functions are held to that store too, inside the process: `hold` takes over those that name another one,
and the making of clients. What they were told is noted, for that is where the runs are meant to be.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from flowml import settings
from flowml.patches import in_place
from flowml.secrets.uris import without_credentials

if TYPE_CHECKING:
    from types import FunctionType

    from mlflow import MlflowClient

MEANT = "flowml.offline.tracking_uri"
"""The tag of an experiment of the offline store that says which store its runs are meant for, without credentials.

Where some are meant for another one than others, it has a line for each; the newest is the last.
"""

MEANT_REGISTRY = "flowml.offline.registry_uri"
"""The same for its registered models, where they have a store of their own."""

_FILE, _FOLDER = "offline.db", "offline-artifacts"
_reaching_out: ContextVar[bool] = ContextVar("flowml_reaching_out", default=False)
_held_to: list[str] = []  # MLflow in this process
_meant: dict[str, str] = {}  # what this process was told, by the tag that notes it


def uri() -> str:
    """Return the offline store's tracking URI, with an absolute path."""
    return f"sqlite:///{settings.home_folder() / _FILE}"


def artifact_root() -> str:
    """Return the folder of its artifacts, as a URI."""
    return (settings.home_folder() / _FOLDER).as_uri()


def is_on() -> bool:
    """Tell whether runs stay here: the setting says so, and this is not what copies them."""
    return settings.current().offline and not _reaching_out.get()


@contextmanager
def reaching_out() -> Iterator[None]:
    """Reach the stores that are named, also where the setting says not to: in this thread, for whoever copies runs."""
    token = _reaching_out.set(True)
    try:
        yield
    finally:
        _reaching_out.reset(token)


def note_meant(tracking_uri: str | None, registry_uri: str | None) -> None:
    """Note where runs would go if they did not stay here; a file that flowml chose by itself is no such place."""
    for tag, named in ((MEANT, tracking_uri), (MEANT_REGISTRY, registry_uri)):
        if named and named != uri():
            _meant[tag] = without_credentials(named)


def forget() -> None:
    """Forget what was named."""
    _meant.clear()


def meant() -> Mapping[str, str]:
    """Return the tags that say where this process's runs are meant to be."""
    return dict(_meant)


def with_earlier(meant: Mapping[str, str], tags: Mapping[str, str]) -> Mapping[str, str]:
    """Return the tags of an experiment whose new runs are meant for a store, and its earlier ones maybe for another.

    Args:
        meant: The tags that say where the new ones are meant to be.
        tags: Those that the experiment has.
    """
    named = meant.get(MEANT)
    if named is None:
        return meant
    others = [each for each in stores_in(tags) if each.rstrip("/") != named.rstrip("/")]
    return {**meant, MEANT: "\n".join([*others, named])}


def stores_in(tags: Mapping[str, str]) -> list[str]:
    """Return the stores that the runs of an experiment are meant for, by its tags; the newest is the last."""
    return tags.get(MEANT, "").splitlines()


def hold() -> None:
    """Hold MLflow to the offline store in this process, for as long as the setting says so."""
    import mlflow

    if not in_place.is_taken_over("set_tracking_uri"):
        for function, ours in (
            (mlflow.set_tracking_uri, _set_tracking_uri),
            (mlflow.set_registry_uri, _set_registry_uri),
            (mlflow.MlflowClient.__init__, _make_client),
        ):
            in_place.take_over(cast("FunctionType", function), ours)
    mlflow.set_tracking_uri(uri())
    mlflow.set_registry_uri(uri())
    _held_to.append(uri())


def release() -> None:
    """Let MLflow choose its registry again, where the setting said otherwise before in this process."""
    while _held_to:
        import mlflow

        held_to = _held_to.pop()
        if mlflow.get_registry_uri() == held_to:
            mlflow.set_registry_uri(None)  # type: ignore[arg-type]  # what it holds before anybody sets one
            if os.environ.get("MLFLOW_REGISTRY_URI") == held_to:
                del os.environ["MLFLOW_REGISTRY_URI"]


def _set_tracking_uri(original: Callable[..., None], uri: Any) -> None:
    if _stays(uri):
        note_meant(str(uri), None)
    else:
        original(uri)


def _set_registry_uri(original: Callable[..., None], uri: Any) -> None:
    if _stays(uri):
        note_meant(None, str(uri))
    else:
        original(uri)


def _stays(named: Any) -> bool:
    return bool(named) and is_on() and str(named) != uri()


def _make_client(
    original: Callable[..., None],
    client: MlflowClient,
    tracking_uri: str | None = None,
    registry_uri: str | None = None,
    *args: Any,
    **kwargs: Any,
) -> None:
    """Make a client of the offline store, whichever it is meant to be of."""
    if is_on():
        tracking_uri = registry_uri = uri()
    original(client, tracking_uri, registry_uri, *args, **kwargs)
