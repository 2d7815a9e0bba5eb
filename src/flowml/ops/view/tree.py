"""A run with all below it, as a tree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowml.ops.prefect_states import TASK_RUN
from flowml.ops.runs import Readable

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True, slots=True)
class Node:
    """One run in the tree.

    Attributes:
        run: The run.
        attempts: How many attempts its task run had.
        children: What was called in it, in order.
    """

    run: Run
    attempts: int
    children: tuple[Node, ...]


def tree(runs: Readable, root: Run) -> Node:
    """Read a run and all below it: tasks, flows called inside, runs opened by hand."""
    below = list(runs.below(root))
    attempts = Counter(run.data.tags.get(TASK_RUN) for run in below if run.data.tags.get("flowml.kind") == "task")
    children: defaultdict[str, list[Run]] = defaultdict(list)
    for run in sorted(below, key=lambda run: run.info.start_time):
        children[run.data.tags["mlflow.parentRunId"]].append(run)

    def node(run: Run) -> Node:
        inner = tuple(node(child) for child in children[run.info.run_id])
        mine = attempts[run.data.tags.get(TASK_RUN)] if run.data.tags.get("flowml.kind") == "task" else 1
        return Node(run, mine, inner)

    return node(root)


def walk(node: Node, guide: str = "", below: str = "") -> Iterator[tuple[str, Node]]:
    """Go through the tree from the top, each with the lines that lead to it."""
    yield guide, node
    for child in node.children:
        is_last = child is node.children[-1]
        yield from walk(child, below + ("└─ " if is_last else "├─ "), below + ("   " if is_last else "│  "))
