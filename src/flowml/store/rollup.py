"""A flow's run carries its children's metrics, so that flow runs compare in MLflow's table."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PAGE = 1000
_METRICS = 1000


def roll_up(client: MlflowClient, run_id: str, experiment_id: str) -> None:
    """Log the children's last metrics on their parent as ``<task>.<metric>``.

    Where several children of one task have the metric (a mapped task), it is their ``.min``, ``.mean`` and ``.max``.
    """
    from mlflow.entities import Metric

    found: defaultdict[str, list[float]] = defaultdict(list)
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment_id], f"tags.mlflow.parentRunId = '{run_id}'", max_results=_PAGE, page_token=token
        )
        for child in page:
            tags = child.data.tags
            owner = tags.get("prefect.task_name") or tags.get("prefect.flow_name") or child.info.run_name
            for key, value in child.data.metrics.items():
                name = key if key == owner else f"{owner}.{key}"
                found[name].append(value)
        token = page.token
        if not token:
            break
    now = time.time_ns() // 1_000_000
    summaries = [summary for name, values in found.items() for summary in _summary(name, values)]
    metrics = [Metric(key[:250], value, now, 0) for key, value in summaries]
    for start in range(0, len(metrics), _METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + _METRICS])


def _summary(name: str, values: list[float]) -> list[tuple[str, float]]:
    if len(values) == 1:
        return [(name, values[0])]
    return [(f"{name}.min", min(values)), (f"{name}.mean", statistics.fmean(values)), (f"{name}.max", max(values))]
