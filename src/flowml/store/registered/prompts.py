"""Loads a version of a prompt; MLflow keeps it for the process, for it never changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowml.store.backend import imports
from flowml.store.ledger.prompts import SCHEME, bare

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, PromptVersion

    from flowml.store.backend.connection import Connection


def load_version(connection: Connection, version: ModelVersion) -> PromptVersion:
    """Load a version of a prompt.

    Args:
        connection: The store that it is in.
        version: The version, as `find` returns it.

    Returns:
        An object of its own for each who asks, so that it is known who asked for it, and how.

    Raises:
        Exception: What MLflow raises.
    """
    from copy import copy

    imports.load_registry()
    uri = f"{SCHEME}{bare(str(version.name))}/{version.version}"
    found: PromptVersion = connection.client.load_prompt(uri)
    return copy(found)
