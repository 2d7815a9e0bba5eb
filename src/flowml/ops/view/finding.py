"""Finds the run that is meant: by an id of Prefect's or MLflow's, the beginning of one, its name, or its flow's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from flowml.errors import nearest_or_some
from flowml.ops.prefect_states import FLOW_RUN, TASK_RUN
from flowml.ops.runs import Readable, Store, quoted
from flowml.secrets import mask
from flowml.store.backend.failures import explained
from flowml.store.backend.urls import FLOWS

if TYPE_CHECKING:
    from mlflow.entities import Run

_BEGINNING = re.compile(r"[0-9a-f][0-9a-f-]{3,35}")  # at least four characters of an id
_RECENT = 200  # flow runs among whose names the nearest is looked for


@dataclass(frozen=True, slots=True)
class Found:
    """The run that is meant.

    Attributes:
        run: The run.
        note: That it is the newest of several, if so.
    """

    run: Run
    note: str | None = None


def find(store: Store, named: str) -> Found:
    """Find a run.

    Args:
        store: Where to look.
        named: A flow run's or task run's id in Prefect, a run's id in MLflow, the beginning of one that fits no
            other, a run's name, or a flow's; of several with a name the newest is meant.

    Raises:
        LookupError: If there is none, or several have ids that begin so.
        TrackingError: If MLflow cannot be reached.
    """
    runs = store.runs
    with explained(store.uri):
        found = _by_id(runs, named, whole=True) or _by_name(runs, named) or _by_id(runs, named, whole=False)
        if found:
            return found
        recent = list(islice(runs.newest(FLOWS, page=_RECENT), _RECENT))
    names = [name for run in recent for name in (run.info.run_name, run.data.tags.get("prefect.flow_name")) if name]
    msg = f"MLflow at {mask(store.uri)} holds no run {named!r}, nor a run of a flow named {named!r}. "
    raise LookupError(msg + (nearest_or_some(named, list(dict.fromkeys(names))) or "Run a flow first."))


def _by_id(runs: Readable, named: str, *, whole: bool) -> Found | None:
    if not _BEGINNING.fullmatch(named):
        return None
    match = f"= '{named}'" if whole else f"LIKE '{named}%'"
    kinds = [f"attributes.run_id {match}", f"tags.`{FLOW_RUN}` {match} and {FLOWS}"]
    kinds += [f"tags.`{TASK_RUN}` {match} and tags.`flowml.kind` = 'task'"]
    by_id: dict[str, Run] = {}
    for mine in kinds:
        for run in islice(runs.newest(mine, page=20), 20):  # of a task run's attempts the newest
            tags, its_id = run.data.tags, run.info.run_id
            if not mine.startswith("attributes"):
                its_id = tags.get(TASK_RUN) or tags[FLOW_RUN]
            by_id.setdefault(its_id, run)
    if len({run.info.run_id for run in by_id.values()}) > 1:
        ids = ", ".join(sorted(by_id)[:10])
        msg = f"Several runs have ids that begin with {named!r}: {ids}. Give more of it."
        raise LookupError(msg)
    return next((Found(run) for run in by_id.values()), None)


def _by_name(runs: Readable, named: str) -> Found | None:
    name = quoted(named)
    if name is None:
        return None
    said = {
        f"attributes.run_name = {name} and {FLOWS}": f"Several flow runs are named {named!r}; this is the newest.",
        f"attributes.run_name = {name}": f"Several runs are named {named!r}; this is the newest.",
        f"tags.`prefect.flow_name` = {name} and {FLOWS}": f"This is the newest run of the flow {named!r}.",
    }
    for mine, note in said.items():
        found = list(islice(runs.newest(mine, page=2), 2))
        if found:
            return Found(found[0], note if len(found) > 1 else None)
    return None
