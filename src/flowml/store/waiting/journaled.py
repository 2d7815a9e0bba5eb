"""What a run has to send, as its process's journal holds it.

A journal's entries about a run: `run` (its header), `store` (where it goes, once that is chosen), `created` (as what),
`records` (what was logged), `kept` (what is needed until its end), `child`, `loss`, `figure`, `closing`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from flowml import records, settings
from flowml.errors import TrackingError
from flowml.secrets.uris import without_credentials
from flowml.store.journal import late, on_disk
from flowml.store.journal.journal import Journal, JournalClosedError, current
from flowml.store.journal.on_disk import JournalError
from flowml.store.journal.scratch import Scratch
from flowml.store.models.identity import Serialized
from flowml.store.models.log_model import SavedModel
from flowml.store.waiting.queue import Closing, Outgoing, Sendable, Taken

_logger = logging.getLogger(__name__)

_KEPT = (
    records.Param,
    records.ByHand,
    records.Hidden,
    records.LinkedPrompt,
    Serialized,
)  # needed until the end of their run
PLAIN: dict[str, type[Any]] = {
    "param": records.Param,
    "tag": records.Tag,
    "dataset": records.Dataset,
    "reused": records.Reused,
    "by_hand": records.ByHand,
    "hidden": records.Hidden,
    "prompt": records.LinkedPrompt,
    "span": records.Span,
    "trace": records.Trace,
}
_NAMES = {kind: name for name, kind in PLAIN.items()}
_FIELDS = {kind: [each.name for each in fields(kind)] for kind in PLAIN.values()}


def take(out: Outgoing, taken: list[Sendable], closing: Closing | None = None) -> None:
    """Let a run have something more to send; what its journal cannot take is sent all the same.

    Args:
        out: The run.
        taken: What it has to send, in a form that waits.
        closing: How it ended, if that is known now.
    """
    early = [each for each in taken if not isinstance(each, _KEPT)]
    kept = [each for each in taken if isinstance(each, _KEPT)]
    entries: list[tuple[str, Any]] = [("kept", kept)] if kept else []
    if closing:
        sums_up = closing.call_summary is not None  # others may have noted children that it is to count
        entries.append(("closing", [closing.status, closing.ended, closing.rolls_up, sums_up]))
    if early:  # it can go as soon as MLflow has it, so it has an entry of its own, the last
        entries.append(("records", early))
    number = _write(out, entries)
    if taken:
        out.incoming.append(Taken(number if early else 0, taken))


def begin(out: Outgoing) -> None:
    """Write that a run is opened."""
    _write(out, [])


def note(out: Outgoing, kind: str, data: Any) -> None:
    """Write something about a run."""
    _write(out, [(kind, data)])


def note_store(out: Outgoing) -> None:
    """Write which store and experiment an outermost run goes to."""
    experiment = out.new.experiment() if out.new and out.new.experiment else None
    named = [experiment.id, experiment.name] if experiment else None
    note(out, "store", {"store": dict(out.store()) if out.store else {}, "experiment": named})


def waiting(out: Outgoing, problem: TrackingError, count: int) -> TrackingError:
    """Return what is said of a run that MLflow has not taken.

    Args:
        out: The run.
        problem: Why it has not.
        count: How many runs wait.
    """
    mine = out.journal
    if not (problem.waits and mine):
        return problem
    _note_late(out, mine)
    out.is_said_to_wait = True
    waits = f"{count} {'run waits' if count == 1 else 'runs wait'} on this disk"
    text = f"{problem} {waits}: `flowml sync` sends what waits, and so does the next flow here."
    return TrackingError(text, uri=problem.uri, waits=True)


def _note_late(out: Outgoing, mine: Journal) -> None:
    """Note a run for the process that closes the one above, if that is another."""
    if out.new and out.new.above and out.new.above.new is None:
        tags = out.new.tags
        owner = tags.get("prefect.task_name") or tags.get("prefect.flow_name", out.new.name)
        late.note(mine.path, out.key, _names(out.new.above)[-1], owner)
        if out.closed and out.closing is None and not out.incoming:  # it was sent at this very moment
            late.forget(mine.path, out.key)


def keep_figure(root: Outgoing, task: str, figure: Path, scratch: Scratch) -> None:
    """Write that a figure of a task is to be on the run of its flow, too."""
    if root.journal and root.journal.is_open() and figure.is_relative_to(root.journal.files):
        note(root, "figure", [task, str(figure.relative_to(root.journal.path.parent))])
        scratch.keep()


def sent(out: Outgoing) -> None:
    """Take away what MLflow has of a run, while more may come."""
    numbers, out.unsent = out.unsent, []
    if (mine := out.journal) and numbers:
        _quietly(partial(mine.clear, numbers))


def to_be_closed(out: Outgoing) -> None:
    """Keep no more of a run than what it is: its process did not say how it ended, and somebody has to find out."""
    if mine := out.journal:
        out.unsent = []
        _quietly(partial(mine.keep_headers, out.key, ("run", "store", "created")))


def awaited(out: Outgoing) -> frozenset[str]:
    """Return the names of those tasks and flows right below a run that other processes have left to their journals."""
    folder = out.journal.path.parent if out.journal else on_disk.folder_of(settings.home_folder())
    return late.owners(folder, {*_names(out), *out.runs_around_tasks})


def _names(out: Outgoing) -> list[str]:
    """Return the names by which others may know a run: its key, and its id once it has one."""
    is_known = out.created.done() and not out.created.exception(0)
    return [out.public_key, *(_created(out)[:1] if is_known else [])]


def forget_late(out: Outgoing) -> None:
    """Take away the note of a run that was left to its journal: it is sent."""
    if out.journal:
        late.forget(out.journal.path, out.key)


def done(out: Outgoing) -> None:
    """Take all of a run away: MLflow has it."""
    mine, out.journal, out.unsent = out.journal, None, []
    if mine:
        _quietly(partial(mine.done, out.key))


def _write(out: Outgoing, entries: list[tuple[str, Any]]) -> int:
    """Write entries about a run, after its header; return the number of the last, 0 if they cannot be written.

    What comes later is tried again: a disk that was full may have room by then.
    """
    try:
        try:
            return _add(out, entries)
        except JournalClosedError:  # the last run in it was sent at this very moment
            return _add(out, entries)
    except (JournalError, TypeError, ValueError) as error:
        out.has_gaps = True
        (out.root or out).losses.say_unjournaled(str(error))
        return 0


def _add(out: Outgoing, entries: list[tuple[str, Any]]) -> int:
    mine = out.journal if out.journal and out.journal.is_open() else None
    if mine is None:
        above = out.root.journal if out.root else None
        mine = above if above and above.is_open() else current()
        if mine is None:
            return 0
        entries = [("run", _header(out)), *entries]
    if not entries:
        return 0
    made = [(kind, _forms(data, mine) if kind in {"records", "kept"} else data) for kind, data in entries]
    number = mine.add(out.key, made)
    out.journal = mine
    return number


def _quietly(job: Callable[[], None]) -> None:
    try:
        job()
    except JournalError as error:
        _logger.debug("flowml: %s", error)  # it would be sent again, which changes nothing


def _header(out: Outgoing) -> dict[str, Any]:
    """Write all that is needed to create the run, or to find it, in another process."""
    found: dict[str, Any] = {"store": out.store() if out.store else None, "root": out.root.key if out.root else None}
    if out.found_by:
        found["found_by"] = out.found_by
    if out.created.done() and not out.created.exception(0):
        found["created"] = _created(out)
    if out.new:
        new = out.new
        experiment = new.experiment() if new.experiment else None
        found["new"] = {
            "name": new.name,
            "tags": dict(new.tags),
            "started": new.started,
            "experiment": [experiment.id, experiment.name] if experiment else None,
            "is_root": new.is_root,
            "above": _reference(new.above),
            "reopens": new.reopens,
            "follows": _reference(new.follows),
            "is_shared": new.is_shared,
        }
    return found


def _created(out: Outgoing) -> list[str]:
    info = out.created.result(0).info
    return [info.run_id, info.experiment_id, info.root_run_id]


def _reference(other: Outgoing | None) -> dict[str, Any] | None:
    if other is None:
        return None
    is_known = other.created.done() and not other.created.exception(0)
    return {"key": other.public_key, "created": _created(other) if is_known else None}


def _forms(taken: Iterable[Sendable], mine: Journal) -> list[Any]:
    found: list[Any] = []
    for each in taken:
        match each:
            case (records.Metric(key, value, step), time):
                found.append(["metric", key, value, step, time])
            case Scratch():
                found.append(["files", *_place(each, mine)])
            case Serialized():
                found.append(["given", _of_model(each, mine)])
            case SavedModel():
                made = (each.digest, each.made, each.made_on)
                facts = [each.name, each.register, each.alias, each.autologged, list(each.notes), *made]
                found.append(["model", facts, _of_model(each.serialized, mine)])
            case _:
                # Their fields are plain already; `asdict` would copy each of them.
                found.append([_NAMES[type(each)], {name: getattr(each, name) for name in _FIELDS[type(each)]}])
    return found


def _place(scratch: Scratch, mine: Journal) -> list[Any]:
    """Name a folder of files by its place beside the journal, so that both can be moved.

    One that lies elsewhere is brought there: the user's code went to another folder, or there was no journal yet.
    """
    if not scratch.path.is_relative_to(mine.files):
        scratch.move(mine.files)
    scratch.keep()
    return [str(scratch.path.relative_to(mine.path.parent))]


def _of_model(model: Serialized, mine: Journal) -> dict[str, Any]:
    scratch = model.scratch
    place = _place(scratch, mine)[0] if scratch else None
    ids = {without_credentials(uri): model_id for uri, model_id in model.ids.items()}
    return {"key": model.key, "content": model.content, "name": model.name, "ids": ids, "files": place}
