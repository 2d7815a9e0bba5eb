"""Children without a run of their own: a flow that fans out to thousands keeps their summary, and the failures."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from flowml import records
from flowml.locks import RLock
from flowml.storable import file_name, legal_key

_MANY = 100  # values of which percentiles say more than the others


@dataclass(frozen=True, slots=True)
class SummarizedCall:
    """What is kept of one child; the ids are the orchestrator's: its own, and those of what it was given results of."""

    owner: str
    name: str
    status: records.Status
    seconds: float
    params: dict[str, str]
    metrics: dict[str, float]
    id: str = ""
    inputs: Sequence[str] = ()


class CallSummary:
    """The children of one run that are summed up on it."""

    def __init__(self) -> None:
        self._children: defaultdict[str, list[SummarizedCall]] = defaultdict(list)
        self.noted: set[str] = set()  # where other processes noted those that are counted
        self._lock = RLock()

    def add(self, child: SummarizedCall) -> None:
        """Count a child."""
        with self._lock:
            self._children[child.owner].append(child)

    def children(self) -> list[SummarizedCall]:
        """Return all children."""
        with self._lock:
            return [child for children in self._children.values() for child in children]

    def records(self) -> Iterator[records.Record]:
        """Sum up: how many, how long, their metrics, and a table with a row for each."""
        with self._lock:
            kept = {owner: list(children) for owner, children in self._children.items()}
        for called, children in kept.items():
            owner = legal_key(called)
            yield records.Metric(f"{owner}.count", float(len(children)))
            yield records.Metric(f"{owner}.failed", float(sum(child.status != "FINISHED" for child in children)))
            yield from summary(f"{owner}.seconds", [child.seconds for child in children])
            found: defaultdict[str, list[float]] = defaultdict(list)
            for child in children:
                for key, value in child.metrics.items():
                    found[name_above(owner, key, child.metrics)].append(value)
            for name, values in found.items():
                yield from summary(name, values)
            yield records.Text(f"children/{file_name(called)}.csv", _table(children))


def name_above(owner: str, key: str, keys: Container[str]) -> str:
    """Name a child's metric on the run above: ``<task>.<metric>``, and the task's name no second time.

    Args:
        owner: The task's or flow's name.
        key: The metric's.
        keys: The names of all metrics of the child; none of them may become the name of another.
    """
    owner = legal_key(owner)
    begins_so = key.startswith(f"{owner}.") and key.removeprefix(f"{owner}.") not in keys
    return key if key == owner or begins_so else f"{owner}.{key}"


def summary(name: str, values: Sequence[float]) -> list[records.Metric]:
    """Sum up many values as ``.min``, ``.mean`` and ``.max``, from a hundred on with ``.p50`` and ``.p95``.

    Args:
        name: What the values are.
        values: The values, in any order.

    Returns:
        The metrics of the values that are finite; none if none is. A percentile is the nearest rank: the smallest value
        that at least so many percent of the values do not exceed.
    """
    ranked = sorted(value for value in values if abs(value) < sys.float_info.max)  # MLflow gives it for infinity
    if not ranked:
        return []
    found = {"min": ranked[0], "mean": math.fsum(value / len(ranked) for value in ranked)}  # a sum may be no float
    if len(ranked) >= _MANY:
        found |= {"p50": _nearest_rank(ranked, 50), "p95": _nearest_rank(ranked, 95)}
    found["max"] = ranked[-1]
    return [records.Metric(f"{name}.{part}", value) for part, value in found.items()]


def _nearest_rank(ranked: Sequence[float], percent: int) -> float:
    return ranked[max(math.ceil(len(ranked) * percent / 100) - 1, 0)]


def _table(children: Sequence[SummarizedCall]) -> str:
    params = sorted({key for child in children for key in child.params})
    metrics = sorted({key for child in children for key in child.metrics})
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["run", "status", "seconds", *params, *metrics])
    for child in children:
        values = [child.params.get(key, "") for key in params] + [child.metrics.get(key, "") for key in metrics]
        table.writerow([child.name, child.status, f"{child.seconds:.3f}", *values])
    return text.getvalue()
