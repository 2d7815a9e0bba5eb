"""What MLflow loads by its entry points, in any process that has flowml installed: so this module imports nothing."""

from __future__ import annotations

import sys
from typing import Any


class PrefectContext:
    """Prefect's ids on every run that is opened inside a Prefect flow or task, by flowml or by hand.

    The methods are those of MLflow's ``RunContextProvider``.
    """

    def in_context(self) -> bool:
        """Tell whether a Prefect flow or task is running here."""
        return "prefect.context" in sys.modules and bool(self.tags())

    def tags(self) -> dict[str, str]:
        """Return the Prefect ids and pages and, if it is known without waiting, the outermost flow's run."""
        from flowml.capture.engine.attempt import tags_here
        from flowml.capture.session import current

        session = current()
        caller = session.run.as_caller().run if session and session.run.is_known else None
        return {**tags_here(), **({"flowml.root_run_id": caller.root_run_id} if caller else {})}


class FlowsExperiment:
    """Runs and traces that the user's code opens in a flow belong in the flow's experiment, if it chose no other.

    The methods are those of MLflow's ``DefaultExperimentProvider``.
    """

    def in_context(self) -> bool:
        """Tell whether a flow or task has a run here."""
        return _own_run() is not None

    def get_experiment_id(self) -> str | None:
        """Return the experiment of that run."""
        own = _own_run()
        return str(own.info.experiment_id) if own else None


def _own_run() -> Any:
    active = sys.modules.get("flowml.store.by_hand.active")
    return active.own_run() if active else None


def artifact_repository(uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> Any:
    """Return what reaches artifacts below ``mlflow-artifacts:/``, which MLflow's server hands on.

    A server that other machines reach gives its experiments such places, below a folder that only the server knows.
    Flows beside it write to its database; they put files straight into that folder.

    Args:
        uri: Where the artifacts are, such as ``mlflow-artifacts:/churn``.
        tracking_uri: The store that they belong to. Default: that in force in MLflow.
        registry_uri: The model registry, if it is another.
    """
    import mlflow
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    store = tracking_uri or mlflow.get_tracking_uri()
    if not store.startswith("http"):
        from flowml.store.backend import embedded

        if place := embedded.beside_its_server(uri, store):
            return get_artifact_repository(place)
    return MlflowArtifactsRepository(uri, tracking_uri, registry_uri)
