"""Loads a version of a registered model, once in a process however many ask for it."""

from __future__ import annotations

import importlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from flowml.locks import RLock
from flowml.store.backend import imports
from flowml.store.models import identity
from flowml.store.models.flavors import mlflow_muted

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from flowml.store.backend.connection import Connection

_Key: TypeAlias = "tuple[str, str | None, str, str]"

_MOST = 8  # models that are kept; a process that lives for months sees many champions


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that was loaded from the registry.

    Attributes:
        value: The model.
        model: The registered model's name.
        version: The version's number.
    """

    value: Any
    model: str
    version: str

    @property
    def name(self) -> str:
        """The version as it is written, ``churn/7``."""
        return f"{self.model}/{self.version}"


_kept: OrderedDict[_Key, Loaded] = OrderedDict()
_loading: dict[_Key, threading.RLock] = {}
_lock = RLock()


def load(connection: Connection, version: ModelVersion) -> Loaded:
    """Load a version by the library that made it, or by pyfunc where MLflow has no other way.

    Args:
        connection: The store that the version is in, which plain ``mlflow.*`` calls go to.
        version: The version.

    Returns:
        The model; the same object for all who ask in this process.

    Raises:
        Exception: Whatever MLflow or the model's library raises.
    """
    key = (connection.uri, connection.registry_uri, str(version.name), str(version.version))
    with _lock:
        mine = _loading.setdefault(key, RLock())
    with mine:
        with _lock:
            if found := _kept.get(key):
                _kept.move_to_end(key)
                return found
        value, model_id = _read(key)
        loaded = Loaded(value, key[2], key[3])
        if model_id:
            identity.note_logged(value, connection.uri, model_id)
        with _lock:
            _kept[key] = loaded
            while len(_kept) > _MOST:
                old, _ = _kept.popitem(last=False)
                _loading.pop(old, None)
        return loaded


def _read(key: _Key) -> tuple[Any, str | None]:
    """Load the model; return it with the id of the logged model, which a registry in a database does not keep."""
    import mlflow

    imports.load_registry()
    uri = f"models:/{key[2]}/{key[3]}"
    with mlflow_muted():
        info = mlflow.models.get_model_info(uri)
        flavors = info.flavors
        loader = str(flavors.get("python_function", {}).get("loader_module", ""))
        module = loader if loader.startswith("mlflow.") and loader != "mlflow.pyfunc.model" else "mlflow.pyfunc"
        if not loader and (native := [name for name in flavors if name != "python_function"]):
            module = f"mlflow.{native[0]}"
        native_load = getattr(importlib.import_module(module), "load_model", mlflow.pyfunc.load_model)
        return native_load(uri), info.model_id
