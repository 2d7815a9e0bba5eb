"""The note and the graph of flows that call much, in ways that nobody expects."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from flowml.store.flow_end import graph, note
from flowml.store.flow_end.child_runs import ChildRun, last_attempts

HEAD = note.Head("1", "Completed", 12.0, {}, None)


def called(number: int, owner: str = "score", **changes: object) -> ChildRun:
    """Return what is known of a call."""
    known = {
        "id": f"id{number}",
        "owner": owner,
        "name": f"{owner}-{number}",
        "is_flow": False,
        "status": "FINISHED",
        "state": "Completed",
        "started": number,
        "seconds": 1.0 + number % 3,
        "run_id": f"{number:032x}",
    }
    return ChildRun(**{**known, **changes})  # type: ignore[arg-type]


def test_a_fan_out_is_one_row() -> None:
    """2,000 calls of one task have one row, with counts and the spread of their metrics, and one for each failure."""
    many = [called(number, metrics={"auc": number / 2000}) for number in range(1999)]
    text = note.write(HEAD, [*many, called(1999, status="FAILED", state="Failed")])
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 2
    assert rows[0].startswith("| score \u00d7 2,000&emsp; | 1,999 Completed, 1 Failed&emsp; | 2,000&emsp; |")
    assert "auc\N{NO-BREAK SPACE}0.4995 (0 to 0.999)" in rows[0]
    assert rows[1].startswith("| [score-1999](#/experiments/1/runs/")


def test_the_note_fits_in_a_tag() -> None:
    """Of 500 tasks as many have a row as there is room for; the note says how many are left out."""
    text = note.write(HEAD, [called(number, owner=f"task {number} {'|' * 60}") for number in range(500)])
    shown = len([line for line in text.splitlines() if line.startswith("| [")])
    assert len(text) <= 8000
    assert 10 < shown < 500
    assert text.endswith(f"… and {500 - shown} more.")


def test_the_last_attempt_counts() -> None:
    """A task run that was tried three times is one call, as its last attempt ended."""
    attempts = [called(1, attempt=1, status="FAILED"), called(1, attempt=3), called(1, attempt=2, status="FAILED")]
    (last,) = last_attempts(attempts)
    assert (last.attempt, last.status) == (3, "FINISHED")


def test_names_break_no_table_and_no_picture() -> None:
    """Names made of what Markdown, mermaid and XML are made of are shown as they are."""
    name = 'a|b` [x](y) <script>"\x00\n</g>'
    children = [called(1, owner=name, name=name), called(2, inputs=("id1",))]
    row = note.write(HEAD, children).splitlines()[4]
    assert len(re.findall(r"\|", row)) == 8
    assert "<" not in row
    drawn = graph.of(children)
    picture = ET.fromstring(graph.svg(drawn))
    assert "script" in "".join(picture.itertext())
    assert {element.tag.partition("}")[2] for element in picture.iter()} <= {
        *("svg", "defs", "marker", "path", "rect", "g", "title", "text")
    }
    assert graph.mermaid(drawn).splitlines()[2].count('"') == 2


def test_the_graph_has_a_node_for_each_task() -> None:
    """Calls of one task are one node; an edge says that one of them was given a result of the other's."""
    fits = [called(number, owner="fit", inputs=("id0",)) for number in range(1, 7)]
    best = called(9, owner="best", inputs=tuple(child.id for child in fits), status="FAILED")
    text = graph.mermaid(graph.of([called(0, owner="load"), *fits, best]))
    assert [line.strip() for line in text.splitlines()[2:-3]] == [
        *('n0["load"]', 'n1["fit \u00d7 6"]', 'n2["best"]', "n0 --> n1", "n1 --> n2")
    ]


def test_a_graph_of_very_many_tasks_is_cut() -> None:
    """Of 100 tasks that call each other in a ring, 40 are drawn, and the rest is counted."""
    ring = [called(number, owner=f"t{number}", inputs=(f"id{(number + 99) % 100}",)) for number in range(100)]
    drawn = graph.of(ring)
    assert (len(drawn.nodes), drawn.more) == (40, 60)
    assert "… and 60 more" in graph.svg(drawn)
    assert "… and 60 more" in graph.mermaid(drawn)
