"""Children without a run of their own: a flow that fans out to thousands keeps their summary, and the failures."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import sys
import uuid
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import RLock
from typing import TYPE_CHECKING

from flowml import records
from flowml.storable import file_name, legal_key
from flowml.store.batches import TAG_VALUE
from flowml.store.outgoing import Created, Outgoing

if TYPE_CHECKING:
    from mlflow import MlflowClient

_NOTED = "flowml.children."  # begins the tags in which other processes note children


@dataclass(frozen=True, slots=True)
class FoldedChild:
    """What is kept of one child; the ids are the orchestrator's: its own, and those of what it was given results of."""

    owner: str
    name: str
    status: records.Status
    seconds: float
    params: dict[str, str]
    metrics: dict[str, float]
    id: str = ""
    inputs: Sequence[str] = ()


class Tally:
    """The children of one run that are summed up on it."""

    def __init__(self) -> None:
        self._children: defaultdict[str, list[FoldedChild]] = defaultdict(list)
        self._lock = RLock()  # re-entrant: the garbage collector may close a generator task inside

    def add(self, child: FoldedChild) -> None:
        """Count a child."""
        with self._lock:
            self._children[child.owner].append(child)

    def children(self) -> list[FoldedChild]:
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


class Ledger:
    """The children that one process sums up for a run of another process, which reads it from tags of that run.

    A tag holds as many children as it has room for, so that thousands are some dozens of tags.

    Args:
        info: The run.
    """

    def __init__(self, info: records.CurrentRun) -> None:
        self._out = Outgoing(None, None)  # its own, for one sender to keep the order of what a tag held
        self._out.created.set_result(Created(None, info))
        self._lock = RLock()
        self._key, self._text = "", ""

    def add(self, child: FoldedChild, put: Callable[[Outgoing, Iterable[records.Record]], None]) -> None:
        """Note a child."""
        row = _row(child)
        with self._lock:
            if not self._key or len(self._text) + len(row) >= TAG_VALUE:
                self._key, self._text = f"{_NOTED}{uuid.uuid4().hex}", row
            else:
                self._text += f"\n{row}"
            put(self._out, [records.Tag(self._key, self._text)])


@lru_cache(maxsize=100)
def ledger_of(uri: str, info: records.CurrentRun, pid: int) -> Ledger:  # noqa: ARG001 - each process of each store has its own
    """Return this process's ledger of a run."""
    return Ledger(info)


def take_in(client: MlflowClient, run_id: str, tally: Tally) -> None:
    """Count the children that other processes noted, and take their notes away."""
    for key, text in client.get_run(run_id).data.tags.items():
        if key.startswith(_NOTED):
            client.delete_tag(run_id, key)
            for row in text.splitlines():
                tally.add(FoldedChild(**json.loads(row)))


def _row(child: FoldedChild) -> str:
    """Write a child on one line that a tag has room for; its longest parameters are shortened where it must be."""
    for most in (TAG_VALUE, 250, 25):
        params = {key: value[:most] for key, value in child.params.items()}
        row = json.dumps(dataclasses.asdict(child) | {"params": params})
        if len(row) < TAG_VALUE:
            return row
    return json.dumps(dataclasses.asdict(child) | {"params": {}, "metrics": {}, "inputs": ()})


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
    """Sum up many values as ``.min``, ``.mean``, ``.p50``, ``.p95`` and ``.max``; leave out those that are not finite.

    Args:
        name: What the values are.
        values: The values, in any order.

    Returns:
        The metrics; none if no value is finite. A percentile is the nearest rank: the smallest value that at least so
        many percent of the values do not exceed.
    """
    ranked = sorted(value for value in values if abs(value) < sys.float_info.max)  # MLflow gives it for infinity
    if not ranked:
        return []
    found = {
        "min": ranked[0],
        "mean": math.fsum(value / len(ranked) for value in ranked),  # their sum may be too large for a float
        "p50": _nearest_rank(ranked, 50),
        "p95": _nearest_rank(ranked, 95),
        "max": ranked[-1],
    }
    return [records.Metric(f"{name}.{part}", value) for part, value in found.items()]


def _nearest_rank(ranked: Sequence[float], percent: int) -> float:
    return ranked[max(math.ceil(len(ranked) * percent / 100) - 1, 0)]


def _table(children: Sequence[FoldedChild]) -> str:
    params = sorted({key for child in children for key in child.params})
    metrics = sorted({key for child in children for key in child.metrics})
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["run", "status", "seconds", *params, *metrics])
    for child in children:
        values = [child.params.get(key, "") for key in params] + [child.metrics.get(key, "") for key in metrics]
        table.writerow([child.name, child.status, f"{child.seconds:.3f}", *values])
    return text.getvalue()
