"""A flow's run carries its children's metrics, so that flow runs compare in MLflow's table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

from flowml import records
from flowml.storable import legal_key
from flowml.store.child_runs import ChildRun
from flowml.store.fold import name_above, summary


def rolled_up(children: Iterable[ChildRun], own: Collection[str]) -> list[records.Metric]:
    """Return the last metrics of the children that finished, as ``<task>.<metric>``.

    What the parent logged itself under such a name, one of ``own``, stays.

    Where several children of one task have the metric (a mapped task), it is their `summary`. Results that came from a
    cache are counted, as ``<task>.cached``.
    """
    found: defaultdict[str, list[float]] = defaultdict(list)
    cached: Counter[str] = Counter()
    for child in children:
        if child.status != "FINISHED":
            continue
        if child.cached:
            cached[f"{legal_key(child.owner)}.cached"] += 1
        for key, value in child.metrics.items():
            found[name_above(child.owner, key, child.metrics)].append(value)
    found |= {name: [float(count)] for name, count in cached.items()}
    return [
        metric
        for name, values in found.items()
        if name not in own
        for metric in ([records.Metric(name, values[0])] if len(values) == 1 else summary(name, values))
    ]
