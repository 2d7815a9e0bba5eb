"""``flowml show``: one run and all below it, as a tree."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowml.ops import output
from flowml.ops.runs import reading
from flowml.ops.view import facts
from flowml.ops.view.finding import find
from flowml.ops.view.tree import Node, tree, walk
from flowml.secrets import mask
from flowml.stack import state
from flowml.store.backend import embedded
from flowml.store.backend.connection import ui_of
from flowml.store.backend.failures import explained

if TYPE_CHECKING:
    from mlflow.entities import Run

_TITLES = ("run", "state", "took", "", "metrics")


def show(run: str, *, as_json: bool = False) -> None:
    """Print a run and all below it: states, durations, attempts, metrics; and where to look further.

    Args:
        run: A flow run's or task run's id in Prefect, a run's id in MLflow, the beginning of one, a run's name, or a
            flow's; of several with a name the newest is shown.
        as_json: Print JSON.

    Raises:
        LookupError: If there is no such run.
        TrackingError: If MLflow cannot be reached.

    Example:
        >>> show("training")
    """
    store = reading()
    found = find(store, run)
    with explained(store.uri):
        whole = tree(store.runs, found.run)
    if as_json:
        output.data(_as_data(store, whole))
        return
    output.rows(_TITLES, (_line(guide, node) for guide, node in walk(whole)))
    for line in where(store, found.run):
        output.say(line)
    if found.note:
        output.note(found.note)


def where(store: facts.Paged, run: Run) -> list[str]:
    """Say where a run is to be seen in both UIs, or how to get there."""
    pages, stack = facts.pages(store, run), state.up()
    prefect = pages.prefect or (stack.prefect.url if stack and stack.prefect.is_alive() else None)
    mlflow = pages.mlflow or ui_of(store.uri)
    shows_it = store.uri == embedded.default_uri()  # `flowml up` shows the project's own store
    up = f"{_command('flowml')} up --detach"
    if prefect is None and mlflow is None and shows_it:
        return [f"Both UIs  {up}"]
    start = f"{_command('mlflow')} ui --backend-store-uri {mask(store.uri)}"
    return [f"Prefect  {prefect or up}", f"MLflow   {mlflow or start}"]


def _command(name: str) -> str:
    """Name a command so that it can be pasted: with its folder, if the shell would not find it."""
    here = Path(sys.executable).with_name(name)
    return name if shutil.which(name) or not here.exists() else str(here)


def _line(guide: str, node: Node) -> tuple[object, ...]:
    run, tags = node.run, node.run.data.tags
    remarks = facts.remarks_of(run, node.attempts)
    if "flowml.error" in tags:
        remarks.append(f"{tags.get('flowml.error_type', 'error')}: {tags['flowml.error'].partition(chr(10))[0][:80]}")
    lead = guide if output.is_terminal() else "  " * (len(guide) // 3)
    name = f"{lead}{facts.name_of(run)}"
    used = facts.usage_of(run)
    told = [facts.metrics_text(run, 8), *([str(used)] if used else [])]
    return name, facts.state_of(run), facts.took(run), ", ".join(remarks), "  ".join(filter(None, told))


def _as_data(store: facts.Paged, node: Node) -> dict[str, Any]:
    told = {**facts.as_data(store, node.run), "attempts": node.attempts}
    return {**told, "children": [_as_data(store, child) for child in node.children]}
