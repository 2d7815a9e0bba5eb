"""Artifacts that MLflow's server hands on, reached without it.

A server that other machines reach gives its experiments places such as ``mlflow-artifacts:/churn``, below a folder
that only the server knows. Flows beside it write to its database; they put files straight into that folder.
"""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import urlsplit

from flowml.stack import state
from flowml.store.backend import embedded

SCHEME = "mlflow-artifacts"


@cache
def install() -> None:
    """Teach MLflow the way, for what flowml and the user log alike."""
    from mlflow.store.artifact import artifact_repository_registry as known

    registry: Any = getattr(known, "_artifact_repository_registry", None)
    if registry is not None:  # without it MLflow says that it needs a server
        registry.register(SCHEME, _repository)


def _repository(uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> Any:
    import mlflow
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    parts, store = urlsplit(uri), tracking_uri or mlflow.get_tracking_uri()
    stack = state.up()
    if parts.netloc or store.startswith("http"):
        return MlflowArtifactsRepository(uri, tracking_uri, registry_uri)
    if stack and stack.database == store:
        root = stack.artifacts
    elif embedded.is_embedded(store):
        root = embedded.artifact_root()
    else:
        return MlflowArtifactsRepository(uri, tracking_uri, registry_uri)
    return get_artifact_repository(f"{root.rstrip('/')}/{parts.path.lstrip('/')}")
