"""The flow's graph: which task's results were given to which, all calls of one task as one node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from flowml.store.flow_end.child_runs import ChildRun

_NODES = 40
_WIDTH, _HEIGHT, _ACROSS, _DOWN, _MARGIN = 190, 44, 30, 50, 20  # of a box, between boxes, round all
_LETTERS = 24  # that a box has room for
_COLOURS = {"FINISHED": "#2e7d32", "FAILED": "#c62828"}
_OTHER = "#616161"
_IN_A_ROW = 6
_PLAIN = " _-.,\u00d7"  # in mermaid's labels, beside letters and digits
_ARROW = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0 8 4 0 8z" fill="#757575"/></marker></defs>'
)


@dataclass(frozen=True, slots=True)
class Node:
    """A task or subflow with all its calls.

    Attributes:
        name: Its name.
        is_flow: Whether it is a subflow.
        calls: How often it was called.
        failed: How many of these failed.
        status: The worst of how they ended.
    """

    name: str
    is_flow: bool
    calls: int
    failed: int
    status: str

    @property
    def label(self) -> str:
        """What its box says first."""
        name = "".join(each if each.isprintable() else " " for each in self.name)  # XML has no control characters
        return name if self.calls == 1 else f"{name} × {self.calls:,}"  # noqa: RUF001 - times


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in the order of their first calls, and which feeds which.

    Attributes:
        nodes: The nodes.
        edges: Pairs of numbers of nodes.
        more: How many nodes were left out.
    """

    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int], ...]
    more: int = 0


def of(children: Sequence[ChildRun]) -> Graph:
    """Draw up the graph of what a flow called."""
    groups: dict[tuple[str, bool], list[ChildRun]] = {}
    for child in children:
        groups.setdefault((child.owner, child.is_flow), []).append(child)
    kept = dict(list(groups.items())[:_NODES])
    numbers = {key: number for number, key in enumerate(kept)}
    group_of = {child.id: (child.owner, child.is_flow) for child in children}
    edges: dict[tuple[int, int], None] = {}
    for key, group in kept.items():
        for source in {group_of.get(source_id) for child in group for source_id in child.inputs}:
            if source in numbers and source != key:
                edges[numbers[source], numbers[key]] = None
    nodes = tuple(_node(name, group, is_flow=is_flow) for (name, is_flow), group in kept.items())
    return Graph(nodes, tuple(sorted(edges)), len(groups) - len(kept))


def _node(name: str, group: Sequence[ChildRun], *, is_flow: bool) -> Node:
    ends = Counter(child.status for child in group)
    status = next((end for end in ("FAILED", "KILLED", "RUNNING") if end in ends), "FINISHED")
    return Node(name, is_flow, len(group), ends["FAILED"], status)


def mermaid(graph: Graph) -> str:
    """Write the graph as Markdown with a mermaid drawing, for tools that draw it."""
    lines = ["```mermaid", "flowchart TD"]
    for number, node in enumerate(graph.nodes):
        shape = '[["{}"]]' if node.is_flow else '["{}"]'
        lines.append(f"    n{number}{shape.format(_entities(node.label))}")
    lines += [f"    n{source} --> n{target}" for source, target in graph.edges]
    failed = [f"n{number}" for number, node in enumerate(graph.nodes) if node.status == "FAILED"]
    if failed:
        lines += [f"    classDef failed stroke:{_COLOURS['FAILED']}", f"    class {','.join(failed)} failed"]
    lines.append("```")
    if graph.more:
        lines += ["", f"… and {graph.more:,} more."]
    return "\n".join(lines) + "\n"


def _entities(label: str) -> str:
    """Write a label so that it is read as text: as mermaid's numbered characters, but for letters and digits."""
    short = " ".join(label.split())[:80]
    return "".join(each if each.isalnum() or each in _PLAIN else f"#{ord(each)};" for each in short)


def svg(graph: Graph) -> str:
    """Draw the graph, each node below those that feed it."""
    rows = _rows(graph)
    places = {number: (column, row) for row, numbers in enumerate(rows) for column, number in enumerate(numbers)}
    width = max(len(numbers) for numbers in rows) * (_WIDTH + _ACROSS) - _ACROSS + 2 * _MARGIN
    height = len(rows) * (_HEIGHT + _DOWN) - _DOWN + 2 * _MARGIN + (20 if graph.more else 0)
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        _ARROW,
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for source, target in graph.edges:
        (x, y), (to_x, to_y) = _corner(*places[source]), _corner(*places[target])
        x, y, to_x, half = x + _WIDTH // 2, y + _HEIGHT, to_x + _WIDTH // 2, _DOWN // 2
        curve = f"M{x} {y}C{x} {y + half} {to_x} {to_y - half} {to_x} {to_y}"
        lines.append(f'<path d="{curve}" fill="none" stroke="#757575" marker-end="url(#head)"/>')
    for number, node in enumerate(graph.nodes):
        lines += _box(node, *_corner(*places[number]))
    if graph.more:
        lines.append(f'<text x="{_MARGIN}" y="{height - 12}">… and {graph.more:,} more</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _rows(graph: Graph) -> list[list[int]]:
    """Put each node into the row below the last that feeds it; what feeds an earlier one (a loop) does not count."""
    row_of: dict[int, int] = {}
    for number in range(len(graph.nodes)):
        above = [row_of[source] for source, target in graph.edges if target == number and source < number]
        row_of[number] = max(above, default=-1) + 1
    rows: list[list[int]] = [[] for _ in range(max(row_of.values()) + 1)]
    for number, row in row_of.items():
        rows[row].append(number)
    return [row[start : start + _IN_A_ROW] for row in rows for start in range(0, len(row), _IN_A_ROW)]


def _corner(column: int, row: int) -> tuple[int, int]:
    return _MARGIN + column * (_WIDTH + _ACROSS), _MARGIN + row * (_HEIGHT + _DOWN)


def _box(node: Node, x: int, y: int) -> list[str]:
    colour = _COLOURS.get(node.status, _OTHER)
    label = node.label if len(node.label) <= _LETTERS else f"{node.label[: _LETTERS - 1]}…"
    ended = f"{node.failed:,} failed" if node.failed and node.calls > 1 else node.status.lower()
    box = f'y="{y}" height="{_HEIGHT}" stroke="{colour}"'
    text = f'x="{x + _WIDTH // 2}" text-anchor="middle"'
    return [
        f"<g><title>{escape(node.label)}</title>",
        f'<rect x="{x}" width="{_WIDTH}" {box} rx="5" fill="#fafafa" stroke-width="1.5"/>',
        *([f'<rect x="{x + 4}" width="{_WIDTH - 8}" {box} fill="none"/>'] if node.is_flow else []),
        f'<text {text} y="{y + 19}">{escape(label)}</text>',
        f'<text {text} y="{y + 35}" font-size="11" fill="{colour}">{ended}</text>',
        "</g>",
    ]
