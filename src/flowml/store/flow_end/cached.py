"""Links what came from a cache to where it was made: the run, and the model that it returned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowml.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from flowml import records
    from flowml.store.models.identity import Serialized


def link(
    client: MlflowClient, run_id: str, reused: list[records.Reused], experiment_id: str, *, may_come: bool
) -> None:
    """Tag a run with the id of the one that made its result, or with why there is none.

    Args:
        client: The client to ask and send with.
        run_id: The run whose result came from a cache.
        reused: Where the result is kept; what was linked is taken away.
        experiment_id: Its experiment, where the other is looked for first.
        may_come: Whether the other may not be in MLflow yet.

    Raises:
        TrackingError: If it is not, and may come.
        Exception: What MLflow raises.
    """
    from mlflow.entities import RunTag

    while reused:
        source = _maker(client, reused[0].key, experiment_id)
        if source is None and may_come:
            msg = "the run that made this cached result is not in MLflow yet."
            raise TrackingError(msg, waits=True)
        tags = {"flowml.cached_from": source.info.run_id} if source else {}
        if source is None:
            tags["flowml.cached_from_missing"] = "no run that made this result is in this MLflow"
        elif source.info.lifecycle_stage == "deleted":
            tags["flowml.cached_from_missing"] = "the run that made this result was deleted"
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        del reused[0]


def resolve(client: MlflowClient, model: Serialized, experiment_id: str) -> None:
    """Find the logged model of one that came from a cache, if the run that made the result has logged just one.

    Args:
        client: The client to ask.
        model: What is to be known; nothing is asked of one that is known already, or came from no cache.
        experiment_id: The experiment where that run is looked for first.

    Raises:
        Exception: What MLflow raises.
    """
    if model.reused is None or client.tracking_uri in model.ids:
        return
    run = _maker(client, model.reused, experiment_id)
    made = run.outputs.model_outputs if run and run.outputs else []
    if len(made) == 1:
        model.ids[client.tracking_uri] = str(made[0].model_id)


def _maker(client: MlflowClient, key: str, experiment_id: str) -> Run | None:
    from mlflow.entities import ViewType

    quote = '"' if "'" in key else "'"
    if quote in key:  # MLflow has no way to write such a name
        return None
    made = f"tags.`flowml.result_key` = {quote}{key}{quote}"
    newest = ["attributes.start_time DESC"]
    found = client.search_runs([experiment_id], made, ViewType.ALL, max_results=1, order_by=newest)
    if not found:
        others = [each.experiment_id for each in client.search_experiments(ViewType.ALL, max_results=5000)]
        found = client.search_runs(others, made, ViewType.ALL, max_results=1, order_by=newest)
    return found[0] if found else None
