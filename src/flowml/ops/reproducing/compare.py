"""Compares two flow runs: their own params, data and metrics, and those of all their task runs."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from flowml.ops.view import facts

if TYPE_CHECKING:
    from mlflow.entities import Run

Kind = Literal["state", "runs", "param", "data", "metric"]

_TINY = 1e-12  # below this, two metrics are both nothing
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]+\b")
_OTHERS = ("flowml.", "system/")  # keys of what flowml and MLflow measure themselves


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was.

    Attributes:
        of: Whose run it is in: the name of the task or flow.
        kind: What it is.
        name: The param's, metric's or dataset's name.
        before: What it was; None if it was not there.
        after: What it is now.
    """

    of: str
    kind: Kind
    name: str
    before: Any
    after: Any


@dataclass(slots=True)
class Compared:
    """What came of comparing.

    Attributes:
        differences: All that differs, in the order of the runs.
        counts: How much was compared of each kind.
        left_out: Task runs that were not compared, since Prefect's cache had the result of one.
    """

    differences: list[Difference] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two.

    Attributes:
        flow: The flow's run.
        below: All runs below it.
        folders: Where the code of the two was, which their params may name.
    """

    flow: Run
    below: list[Run]
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Near:
    """Which metrics are taken for equal.

    Attributes:
        tolerance: How far two may be apart, as a part of the larger.
        repeated: The tasks whose metrics a flow's run repeats, in the order in which they came.
    """

    tolerance: float
    repeated: frozenset[str] = frozenset()

    def __call__(self, old: float | None, new: float | None) -> bool:
        """Tell whether two metrics are equal."""
        if old is None or new is None:
            return old is new
        both_nan = math.isnan(old) and math.isnan(new)
        return both_nan or math.isclose(old, new, rel_tol=self.tolerance, abs_tol=_TINY)


def compare(before: Side, after: Side, tolerance: float) -> Compared:
    """Compare two runs of a flow.

    Args:
        before: The first.
        after: The second.
        tolerance: How far two metrics may be apart, as a part of the larger.
    """
    compared = Compared()
    sides, near = (before, after), Near(tolerance)
    tasks = frozenset(facts.owner_of(run) for run in (*before.below, *after.below))
    _one(compared, sides, (before.flow, after.flow), Near(tolerance, tasks))
    first, second = _by_owner(before), _by_owner(after)
    for owner in dict.fromkeys([*first, *second]):
        runs, again = first.get(owner, []), second.get(owner, [])
        if len(runs) != len(again):
            compared.differences.append(Difference(owner, "runs", "", len(runs), len(again)))
        for one, other in _pairs(before, runs, after, again):
            if "true" in {one.data.tags.get("flowml.cached"), other.data.tags.get("flowml.cached")}:
                compared.left_out += 1
            else:
                _one(compared, sides, (one, other), near)
    return compared


def _by_owner(side: Side) -> dict[str, list[Run]]:
    """Return the runs of each task, in the order in which they began; of a task run its last attempt."""
    found: defaultdict[str, list[Run]] = defaultdict(list)
    for run in sorted(side.below, key=lambda run: run.info.start_time):
        if run.data.tags.get("flowml.superseded") != "true":
            found[facts.owner_of(run) or facts.name_of(run)].append(run)
    return found


def _pairs(before: Side, runs: list[Run], after: Side, again: list[Run]) -> Iterator[tuple[Run, Run]]:
    """Match the runs of a task: those that were given the same first, then the others in their order."""
    left = list(again)
    others: list[Run] = []
    for run in runs:
        given = _params(before, run), _data(run, "input")
        match = next((one for one in left if (_params(after, one), _data(one, "input")) == given), None)
        if match is None:
            others.append(run)
        else:
            left.remove(match)
            yield run, match
    yield from zip(others, left, strict=False)


def _one(compared: Compared, sides: tuple[Side, Side], runs: tuple[Run, Run], near: Near) -> None:
    run, again = runs
    of = facts.owner_of(run) or facts.name_of(run)
    kinds: list[tuple[Kind, dict[str, Any], dict[str, Any]]] = [
        ("state", {"": facts.state_of(run)}, {"": facts.state_of(again)}),
        ("param", _params(sides[0], run), _params(sides[1], again)),
        ("data", _data(run), _data(again)),
        ("metric", _metrics(run, near.repeated), _metrics(again, near.repeated)),
    ]
    for kind, first, second in kinds:
        names = sorted({*first, *second})
        compared.counts[kind] += len(names)
        for name in names:
            old, new = first.get(name), second.get(name)
            if not (near(old, new) if kind == "metric" else old == new):
                compared.differences.append(Difference(of, kind, name, old, new))


def _params(side: Side, run: Run) -> dict[str, str]:
    """Return a run's params, without what is another each time: addresses, and the folder of the code."""
    found = {key: _ADDRESS.sub("0x", text) for key, text in run.data.params.items() if not key.startswith(_OTHERS)}
    for folder in side.folders:
        found = {key: text.replace(folder, ".") for key, text in found.items()}
    return found


def _data(run: Run, role: str | None = None) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in run.inputs.dataset_inputs if run.inputs else []:
        context = next((tag.value for tag in each.tags if tag.key == "mlflow.data.context"), "")
        if role is None or context == role:
            found[f"{each.dataset.name} ({context})" if context else each.dataset.name] = each.dataset.digest
    return found


def _metrics(run: Run, repeated: Iterable[str]) -> dict[str, float]:
    """Return a run's metrics, without those that repeat its tasks'."""
    return {
        key: value
        for key, value in run.data.metrics.items()
        if not key.startswith(_OTHERS) and key.partition(".")[0] not in repeated
    }
