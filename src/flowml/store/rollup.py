"""A flow's run carries its children's metrics, so that flow runs compare in MLflow's table."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING

from flowml import records
from flowml.store.fold import summary

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PAGE = 1000
_METRICS = 1000


def roll_up(client: MlflowClient, run_id: str, experiment_id: str, own: Collection[str]) -> None:
    """Log the last metrics of the children that finished on their parent, as ``<task>.<metric>``.

    What the parent logged itself under such a name, one of ``own``, stays.

    Where several children of one task have the metric (a mapped task), it is their `summary`. Results that came from a
    cache are counted, as ``<task>.cached``.
    """
    from mlflow.entities import Metric

    found: defaultdict[str, list[float]] = defaultdict(list)
    cached: Counter[str] = Counter()
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment_id],
            f"tags.mlflow.parentRunId = '{run_id}' and attributes.status = 'FINISHED'",
            max_results=_PAGE,
            page_token=token,
        )
        for child in page:
            tags = child.data.tags
            owner = tags.get("prefect.task_name") or tags.get("prefect.flow_name")
            owner = owner if owner and "flowml.kind" in tags else child.info.run_name  # else it was opened by hand
            if tags.get("flowml.cached") == "true":
                cached[f"{owner}.cached"] += 1
            for key, value in child.data.metrics.items():
                name = key if key == owner else f"{owner}.{key}"
                found[name].append(value)
        token = page.token
        if not token:
            break
    found |= {name: [float(count)] for name, count in cached.items()}
    now = time.time_ns() // 1_000_000
    metrics = [
        Metric(metric.key[:250], metric.value, now, 0)
        for name, values in found.items()
        if name not in own
        for metric in ([records.Metric(name, values[0])] if len(values) == 1 else summary(name, values))
    ]
    for start in range(0, len(metrics), _METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + _METRICS])
