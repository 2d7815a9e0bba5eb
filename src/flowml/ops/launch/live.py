"""A view of a running flow in the terminal: its tasks with their states, durations and metrics."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from flowml.errors import FlowmlError
from flowml.ops import output
from flowml.ops.launch.summary import own_run
from flowml.ops.runs import Runs
from flowml.ops.view import facts
from flowml.ops.view.tree import Node, tree, walk
from flowml.store.backend.connection import connect
from flowml.store.backend.failures import explained

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_EACH = 0.5  # seconds between two looks
_SHARE = 10  # of the time, one part in so many is spent on looking: the flow is what the processor is for
_AROUND = 6  # lines of the terminal that are left to others


@contextmanager
def watched(flow: str) -> Iterator[None]:
    """Show what a flow does while the body of the ``with`` runs it; what it logs appears above.

    Args:
        flow: Its name.
    """
    from rich.console import Console
    from rich.live import Live

    with suppress(FlowmlError):
        connect()  # here, before the flow's own threads do
    console = Console(highlight=False, markup=False)
    over = threading.Event()
    with _logs_above(console), Live(_waiting(flow), console=console, refresh_per_second=4, transient=True) as live:
        looker = threading.Thread(target=_look, args=(flow, live, over), name="flowml-view", daemon=True)
        looker.start()
        try:
            yield
        finally:
            over.set()
            looker.join(timeout=10)


def _look(flow: str, live: Any, over: threading.Event) -> None:
    pause = _EACH
    while not over.wait(pause):
        began = time.monotonic()
        with suppress(Exception):  # the view is worth no failure: the summary says what there is to say
            live.update(_view(flow, live.console.height - _AROUND))
        pause = max(_EACH, _SHARE * (time.monotonic() - began))


def _view(flow: str, height: int) -> RenderableType:
    root = own_run(flow)
    if root is None:
        return _waiting(flow)
    connection = connect()
    with explained(connection.uri):
        whole = tree(Runs(connection.client), root)
    lines = list(walk(whole))
    if len(lines) <= height:
        return output.table(("run", "state", "took", "", "metrics"), (_line(guide, node) for guide, node in lines))
    return output.table(("run", "state", "took", "", "metrics"), [_line("", whole), *_grouped(lines)])


def _waiting(flow: str) -> RenderableType:
    return output.cell(f"{flow}: starting")


def _line(guide: str, node: Node) -> tuple[object, ...]:
    run = node.run
    cells = f"{guide}{facts.name_of(run)}", facts.state_of(run), facts.took(run)
    return (*cells, ", ".join(facts.remarks_of(run, node.attempts)), facts.metrics_text(run))


def _grouped(lines: list[tuple[str, Node]]) -> Iterator[tuple[object, ...]]:
    """Sum up the runs of each task, where there are more than lines."""
    groups: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for _, node in lines[1:]:
        groups[facts.owner_of(node.run) or facts.name_of(node.run)][facts.state_of(node.run)] += 1
    for name, states in groups.items():
        yield f"└─ {name}", "", "", ", ".join(f"{count} {state}" for state, count in states.most_common()), ""


@contextmanager
def _logs_above(console: Console) -> Iterator[None]:
    """Let Prefect's logs go through the console that draws the view, which puts them above it."""
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.Logger.manager.loggerDict))]
    handlers: list[Any] = [one for logger in loggers for one in logger.handlers if hasattr(one, "console")]
    before = [(handler, handler.console) for handler in handlers]
    for handler in handlers:
        handler.console = console
    try:
        yield
    finally:
        for handler, own in before:
            handler.console = own
