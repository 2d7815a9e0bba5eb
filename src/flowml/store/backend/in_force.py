"""Which MLflow is in force here: what flowml's settings, the user's code, the local servers or nobody have named."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import wrapt

from flowml import settings
from flowml.errors import SettingsError
from flowml.locks import RLock
from flowml.stack import state
from flowml.store.backend import embedded, mlflow_state, offline
from flowml.store.backend.mlflow_state import absolute

_lock = RLock()
_chosen: str | None = None  # what flowml told MLflow to use, to tell it from what the user said


def tracking_uri() -> str:
    """Return the tracking URI in force here, with its credentials; nothing is connected to."""
    return uris()[0]


def is_there() -> bool:
    """Tell whether there is a store to read: one that somebody configured, or an embedded one that was made."""
    uri, _ = uris()
    return not embedded.is_embedded(uri) or Path(uri.removeprefix("sqlite:///")).exists()


def uses_mlflows_own() -> bool:
    """Tell whether the store in force is the one that plain ``mlflow.*`` calls go to already."""
    import mlflow

    return uris()[0] == absolute(mlflow.get_tracking_uri())


def uris() -> tuple[str, str | None]:
    """Return the tracking URI in force here and, if it is another, the registry's; they may hold credentials.

    It is the offline store's, flowml's setting, what the user told MLflow or has in use there, the local servers',
    the embedded store's.
    """
    return (offline.uri(), offline.uri()) if offline.is_on() else _named()


def meant() -> tuple[str | None, str | None]:
    """Return where runs would go if they did not stay offline, and the registry's; None if nobody named a store."""
    uri, registry = _named()
    named = uri if uri != embedded.default_uri() or state.up() else None
    registry = registry or os.environ.get("MLFLOW_REGISTRY_URI")
    # A process that works offline says the offline store to those that it starts.
    return named if named != offline.uri() else None, registry if registry != offline.uri() else None


def _named() -> tuple[str, str | None]:
    wanted = settings.current()
    registry = settings.resolved(wanted.registry_uri)
    if told := settings.resolved(wanted.tracking_uri):
        return absolute(told), registry
    if "mlflow" not in sys.modules and not os.environ.get("MLFLOW_EXPERIMENT_ID"):
        # Nobody can have told MLflow anything but by the environment; importing it to ask takes seconds.
        return absolute(os.environ.get("MLFLOW_TRACKING_URI") or _locals()), registry
    import mlflow
    from mlflow.tracking import is_tracking_uri_set

    if is_tracking_uri_set() and mlflow.get_tracking_uri() != _chosen:
        uri = mlflow.get_tracking_uri()
    elif _chosen is None and mlflow_state.is_in_use():
        uri = mlflow.get_tracking_uri()  # MLflow's default: a run or experiment of the user's is there
    else:
        uri = _locals()
    return absolute(uri), registry


def _locals() -> str:
    stack = state.up()
    return (stack and stack.database) or embedded.default_uri()


def tell_mlflow(uri: str, registry_uri: str | None) -> None:
    """Point plain MLflow calls at the same store; only when it differs, for this resets MLflow's tracing."""
    global _chosen  # noqa: PLW0603 - the one place that holds it
    import mlflow

    with _lock:
        if mlflow.get_tracking_uri() != uri:
            # As the environment would, where that is enough: what the user says later, in either way, then counts.
            os.environ["MLFLOW_TRACKING_URI"] = uri
            if mlflow.get_tracking_uri() != uri:
                mlflow.set_tracking_uri(uri)
            mlflow.tracing.reset()
            _chosen = uri
        if registry_uri and mlflow.get_registry_uri() != registry_uri:
            mlflow.set_registry_uri(registry_uri)


def stay_offline() -> None:
    """Hold MLflow to the offline store from its import on, if the settings say so: a script's first lines reach out."""
    try:
        if offline.is_on():
            wrapt.register_post_import_hook(lambda _: hold_offline(), "mlflow")
    except SettingsError:
        return  # the first flow says what is wrong


def hold_offline() -> None:
    """Hold MLflow to the offline store, if the settings say so, and note where its runs are meant to be."""
    global _chosen  # noqa: PLW0603
    if offline.is_on():
        offline.note_meant(*meant())
        with _lock:
            offline.hold()
            _chosen = offline.uri()
