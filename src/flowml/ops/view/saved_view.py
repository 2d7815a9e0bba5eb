"""A view of an experiment's flow runs, with their own metrics and parameters as columns and charts.

MLflow's pages keep a view that is saved for everybody as a tag of the experiment, list it by its name under *Views*,
and open it by its id. Their addresses alone can name a filter, but no columns.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowml.ops.view import facts
from flowml.store.backend.urls import FLOWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow.entities import Run

    from flowml.store.backend.reading.server_runs import Server

VIEW = "flowml"
"""The view's id in its experiment."""

_TAG = f"mlflow.sharedViewState.{VIEW}"
_NAME = "Flow runs"
_SECTION = "flowml-own-metrics"
_METRICS, _PARAMS = 6, 4  # columns that a window of common width shows
_LONGEST = 60  # characters of a name: a tag of an experiment holds 5,000


def save(server: Server, experiment_id: str, newest: Sequence[Run]) -> None:
    """Save the view in an experiment, unless it is there as it should be, or somebody has changed it.

    Args:
        server: The server that has the experiment.
        experiment_id: The experiment.
        newest: Flow runs of it, newest first: the first one with metrics of its own says which columns there are.

    Raises:
        OSError: If the server cannot be reached.
        RequestRefusedError: If it does not take the view, as from a user who may only read.
    """
    experiment = server.experiment(experiment_id)
    there = {tag["key"]: tag.get("value", "") for tag in experiment.get("tags", [])}.get(_TAG)
    run = next((run for run in newest if facts.own_metrics(run)), newest[0])
    wanted = _view(run, int(experiment.get("creation_time", 0)))
    if there != wanted and not _is_changed(there):
        server.tag_experiment(experiment_id, _TAG, wanted)


def _view(run: Run, moment: int) -> str:
    """Return the view as MLflow's pages save one; the same for the same columns."""
    metrics = [key for key in facts.own_metrics(run) or sorted(run.data.metrics) if _fits(key)][:_METRICS]
    params = [key for key, value in run.data.params.items() if _fits(key) and value != "None"][:_PARAMS]
    columns = [f"metrics.`{key}`" for key in metrics] + [f"params.`{key}`" for key in params]
    # The column Models, which MLflow shows otherwise, has only models that a run made itself: not those of its tasks.
    state: dict[str, Any] = {"searchFilter": FLOWS, "selectedColumns": ["attributes.`Dataset`", *columns]}
    if metrics:  # with no charts named, MLflow makes one for each metric of the tasks too, in alphabetical order
        state["compareRunCharts"] = [_chart(key) for key in metrics]
        state["compareRunSections"] = [{"uuid": _SECTION, "name": "The flow's own metrics", "display": True}]
    return json.dumps({"name": _NAME, "createdAt": moment, "updatedAt": moment, "state": json.dumps(state)})


def _chart(key: str) -> dict[str, Any]:
    return {
        "type": "BAR",
        "uuid": f"flowml-{key}",
        "metricSectionId": _SECTION,
        "metricKey": key,
        "runsCountToCompare": 10,
        "deleted": False,
        "isGenerated": False,
    }


def _fits(key: str) -> bool:
    return len(key) <= _LONGEST and "`" not in key


def _is_changed(view: str | None) -> bool:
    """Tell whether somebody has saved a view of their own in this one's place, on MLflow's pages."""
    if view is None:
        return False
    try:
        told = json.loads(view)
        return bool(told["updatedAt"] != told["createdAt"])
    except (ValueError, KeyError, TypeError):
        return True
