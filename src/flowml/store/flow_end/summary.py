"""Children without a run of their own: a flow that fans out to thousands keeps their summary, and the failures."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import sys
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from flowml import records
from flowml.locks import RLock
from flowml.storable import file_name, legal_key

FOLDER = "children"
"""The folder of a flow's run with what it tells of the calls that it sums up."""

NOTED = "flowml.children."
"""Begins the tags of a run in which other processes note calls for it to sum up."""

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
    attempt: int = 1

    @property
    def key(self) -> tuple[str, int]:
        """What no other call has."""
        return self.id, self.attempt


class CallSummary:
    """The children of one run that are summed up on it.

    Args:
        calls: Those that are known already.
    """

    def __init__(self, calls: Iterable[SummarizedCall] = ()) -> None:
        self._calls: dict[tuple[str, int], SummarizedCall] = {}
        self._lock = RLock()
        for call in calls:
            self.add(call)

    def add(self, child: SummarizedCall) -> None:
        """Count a child; where it is told again, by its process, a tag or a journal, the last word counts."""
        with self._lock:
            self._calls[child.key] = child

    def has(self, child: SummarizedCall) -> bool:
        """Tell whether a child is counted."""
        return child.key in self._calls

    def children(self) -> list[SummarizedCall]:
        """Return all children."""
        with self._lock:
            return list(self._calls.values())

    def records(self) -> Iterator[records.Record]:
        """Sum up: how many, how long, their metrics, and a table with a row for each."""
        kept: defaultdict[str, list[SummarizedCall]] = defaultdict(list)
        for child in self.children():
            kept[child.owner].append(child)
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
            yield records.Text(f"{FOLDER}/{file_name(called)}.csv", _table(children))


def file_of(calls: Sequence[SummarizedCall]) -> records.Text:
    """Return a file with calls, one on a line, from which they are summed up again when more of them come.

    It is named by what it holds, so that it replaces none that holds something else: several processes may write
    such files of one run, and one may know less when it writes again after an interruption.
    """
    text = "[\n" + ",\n".join(json.dumps(asdict(call)) for call in calls) + "\n]\n"
    return records.Text(f"{FOLDER}/calls.{hashlib.sha256(text.encode()).hexdigest()[:32]}.json", text)


def is_file_of_calls(path: str) -> bool:
    """Tell whether a file of a run is one that `file_of` has made."""
    return path.startswith(f"{FOLDER}/calls.") and path.endswith(".json")


def from_file(text: str) -> list[SummarizedCall]:
    """Return the calls that a file holds; none of one that is something else."""
    try:
        return [SummarizedCall(**fields) for fields in json.loads(text)]
    except (TypeError, ValueError):
        return []


def noted_in(tags: Mapping[str, str]) -> dict[str, list[SummarizedCall]]:
    """Return what other processes noted in the tags of a run, by tag; what cannot be read is left out."""
    return {
        key: [call for row in text.splitlines() for call in from_file(f"[{row}]")]
        for key, text in tags.items()
        if key.startswith(NOTED)
    }


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
