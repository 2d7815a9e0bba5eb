"""Runs: all are made in the other store first, so that each link has an end, and then filled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from flowml import mlflow_limits
from flowml.store.backend import sql_tables
from flowml.store.backend.paging import paged
from flowml.store.copying import marks
from flowml.store.copying.ends import Copied, Ends, existing
from flowml.store.copying.files import Files
from flowml.store.copying.links import Links
from flowml.store.ledger.ledger import LEDGER

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModelInput, LoggedModelOutput, Run

_PARENT = "mlflow.parentRunId"
_OPEN = {"RUNNING", "SCHEDULED"}


@dataclass(frozen=True, slots=True)
class RunToCopy:
    """A run that is to be copied, or whose copy is to be completed.

    Attributes:
        run: The run, as it was before anything of it was copied.
        digest: Of what it held then.
        new_id: The copy's id.
        before: The copy, if an earlier sync made it.
    """

    run: Run
    digest: str
    new_id: str
    before: Run | None

    @property
    def is_open(self) -> bool:
        """Whether the run is not over."""
        return self.run.info.status in _OPEN


def all_of(source: MlflowClient, experiment_id: str) -> Iterator[Run]:
    """Go through the runs of an experiment that are not deleted, oldest first; not ledgers: each store has its own."""
    order = ["attributes.start_time ASC"]
    found = paged(partial(source.search_runs, [experiment_id], order_by=order, max_results=mlflow_limits.PAGE))
    yield from (run for run in found if run.data.tags.get("flowml.kind") != LEDGER)


def make(ends: Ends, experiment_id: str, links: Links, done: Copied) -> list[RunToCopy]:
    """Make the runs of an experiment, those above others first; none that was made already.

    Args:
        ends: The two stores.
        experiment_id: The experiment, in the store that is read.
        links: Gets the ids of all of them, also of those that are copied already.
        done: Counts those.

    Returns:
        Those that are to be filled.
    """
    pending, there = [], links.experiments[experiment_id]
    for run in all_of(ends.source, experiment_id):
        digest = _digest(ends.source, run)
        if copied := marks.copy_of(run.data.tags, ends.to, digest):
            links.ids[run.info.run_id] = copied
            done.before += 1
        else:
            pending.append((run, digest))
    found = copies(ends, there, [run for run, _ in pending])
    made = []
    for run, digest in _parents_first(pending):
        run_id = run.info.run_id
        copy = found.get(run_id)
        if copy and copy.info.lifecycle_stage == "deleted":
            done.deleted.append(run_id)
            continue
        links.ids[run_id] = new_id = copy.info.run_id if copy else _create(ends, there, run, links)
        if copy and copy.data.tags.get(marks.COPIED) == digest:  # and the answer, or the note, was lost
            note_copied(ends, RunToCopy(run, digest, new_id, copy))
            done.before += 1
        else:
            made.append(RunToCopy(run, digest, new_id, copy))
    return made


def note_copied(ends: Ends, one: RunToCopy) -> None:
    """Note on a run that its copy is complete."""
    note = marks.Note(ends.to, one.new_id, one.digest)
    ends.source.set_tag(one.run.info.run_id, marks.SYNCED, note.as_tag())


def is_copied(source: MlflowClient, run: Run, to: str | None = None) -> bool:
    """Tell whether all that a run holds now was copied, to a store or to any."""
    note = marks.Note.in_tags(run.data.tags)
    if note is None or run.info.status in _OPEN or to not in {None, note.to}:
        return False
    return note.digest == _digest(source, run)


def datasets_of(run: Run) -> list[DatasetInput]:
    """Return what a run read and made."""
    return run.inputs.dataset_inputs if run.inputs else []


def models_read(run: Run) -> list[LoggedModelInput]:
    """Return the logged models that it read."""
    return run.inputs.model_inputs if run.inputs else []


def models_made(run: Run) -> list[LoggedModelOutput]:
    """Return the logged models that it made."""
    return run.outputs.model_outputs if run.outputs else []


def _create(ends: Ends, experiment_id: str, run: Run, links: Links) -> str:
    kept = {key: run.data.tags[key] for key in ("mlflow.user", _PARENT) if key in run.data.tags}
    tags = {**links.of_tags(kept), marks.COPIED_FROM: run.info.run_id}
    made = ends.target.create_run(experiment_id, run.info.start_time, tags, run.info.run_name)
    return str(made.info.run_id)


def copies(ends: Ends, experiment_id: str, runs: list[Run]) -> dict[str, Run]:
    """Find the copies that were made of some runs, also deleted ones.

    Args:
        ends: The two stores.
        experiment_id: The experiment that is copied to. Copies begin when the runs did, and are found there all at
            once; one that is noted and is not among them is asked for by its id, wherever it is.
        runs: The runs.

    Returns:
        The copies, by the ids of the runs.

    Raises:
        Exception: What MLflow raises.
    """
    from mlflow.entities import ViewType

    if not runs:
        return {}
    first, last = (pick(run.info.start_time for run in runs) for pick in (min, max))
    mine = (
        f"tags.`{marks.COPIED_FROM}` LIKE '%' and attributes.start_time >= {first} and attributes.start_time <= {last}"
    )
    wanted = {run.info.run_id for run in runs}
    search = partial(ends.target.search_runs, [experiment_id], mine, ViewType.ALL, max_results=mlflow_limits.PAGE)
    made = ((run.data.tags[marks.COPIED_FROM], run) for run in paged(search))
    found = {old: run for old, run in made if old in wanted}
    for run in runs:
        old, note = run.info.run_id, marks.noted(run.data.tags, ends.to)
        is_elsewhere = note and (old not in found or found[old].info.run_id != note.id)
        copy = existing(ends.target.get_run, note.id) if note and is_elsewhere else None
        if copy and copy.data.tags.get(marks.COPIED_FROM) == old:
            found[old] = copy
    return found


def _parents_first(pending: Iterable[tuple[Run, str]]) -> Iterator[tuple[Run, str]]:
    left = {run.info.run_id: (run, digest) for run, digest in pending}
    below = defaultdict[str, list[str]](list)
    for run_id, (run, _) in left.items():
        parent = run.data.tags.get(_PARENT, "")
        below[parent if parent in left and parent != run_id else ""].append(run_id)
    waiting = below[""][::-1]
    while waiting:
        run_id = waiting.pop()
        yield left.pop(run_id)
        waiting += below[run_id][::-1]
    yield from left.values()  # each is said to be below another


def _digest(source: MlflowClient, run: Run) -> str:
    info, data = run.info, run.data
    points = sql_tables.count_points(source, info.run_id) if sql_tables.serves(source) else 0  # also of earlier steps
    datasets = [[one.dataset.name, one.dataset.digest, len(one.tags)] for one in datasets_of(run)]
    models = [each.model_id for each in models_read(run)] + [each.model_id for each in models_made(run)]
    return marks.digest(
        [info.status, info.start_time, info.end_time, info.run_name],
        marks.without_marks(data.tags),
        data.params,
        {key: repr(value) for key, value in data.metrics.items()},
        points,
        sorted(datasets),
        sorted(models),
        Files(info.artifact_uri).listing(),
    )
