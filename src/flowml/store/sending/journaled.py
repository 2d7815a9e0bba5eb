"""What a run has to send, as its process's journal holds it; and read back from there, in another process.

A journal's entries about a run: `run` (its header), `store` (where it goes, once that is chosen), `created` (as what),
`records` (what was logged), `kept` (what is needed until its end), `child`, `loss`, `closing`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from flowml import records
from flowml.store.flow_end.summary import CallSummary, SummarizedCall
from flowml.store.journal.journal import Entry, Journal, JournalError, current
from flowml.store.journal.scratch import Scratch
from flowml.store.models.identity import Serialized
from flowml.store.models.log_model import SavedModel
from flowml.store.sending.queue import Closing, Created, Experiment, NewRun, Outgoing, Sendable, Taken

_logger = logging.getLogger(__name__)

_KEPT = (records.Param, records.ByHand, records.Hidden, Serialized)  # needed until the end of their run
_PLAIN: dict[str, type[Any]] = {
    "param": records.Param,
    "tag": records.Tag,
    "dataset": records.Dataset,
    "reused": records.Reused,
    "by_hand": records.ByHand,
    "hidden": records.Hidden,
}
_NAMES = {kind: name for name, kind in _PLAIN.items()}


def take(out: Outgoing, taken: list[Sendable]) -> None:
    """Let a run have something more to send; what its journal cannot take is sent all the same.

    Args:
        out: The run.
        taken: What it has to send, in a form that waits.
    """
    number = 0
    if taken:
        early = [each for each in taken if not isinstance(each, _KEPT)]
        kept = [each for each in taken if isinstance(each, _KEPT)]
        # The first can go as soon as MLflow has it, so it has an entry of its own, the last.
        kinds = (("kept", kept), ("records", early))
        number = _write(out, [(kind, items) for kind, items in kinds if items])
        number = number if early else 0
    out.incoming.append(Taken(number, taken))


def begin(out: Outgoing) -> None:
    """Write that a run is opened."""
    _write(out, [])


def note(out: Outgoing, kind: str, data: Any) -> None:
    """Write something about a run."""
    _write(out, [(kind, data)])


def close(out: Outgoing, closing: Closing) -> None:
    """Write how a run ended."""
    _write(out, [("closing", [closing.status, closing.ended, closing.rolls_up])])


def sent(out: Outgoing) -> None:
    """Take away what MLflow has of a run, while more may come."""
    numbers, out.unsent = out.unsent, []
    if (mine := out.journal) and numbers:
        _quietly(partial(mine.clear, numbers))


def done(out: Outgoing) -> None:
    """Take all of a run away: MLflow has it."""
    mine, out.journal, out.unsent = out.journal, None, []
    if mine:
        _quietly(partial(mine.done, out.key))


def _write(out: Outgoing, entries: list[tuple[str, Any]]) -> int:
    """Write entries about a run, after its header; return the number of the last, 0 if they cannot be written."""
    if out.keeps_no_journal:
        return 0
    try:
        if out.journal is None or not out.journal.is_open():
            mine = current()
            if mine is None:
                return 0
            entries, out.journal = [("run", _header(out)), *entries], mine
        if not entries:
            return 0
        made = [(kind, _forms(data, out.journal) if kind in {"records", "kept"} else data) for kind, data in entries]
        return out.journal.add(out.key, made)
    except (JournalError, TypeError, ValueError) as error:
        out.journal, out.keeps_no_journal = None, True
        told = (out.root or out).losses
        told.say_unjournaled(str(error))
        return 0


def _quietly(job: Callable[[], None]) -> None:
    try:
        job()
    except JournalError as error:
        _logger.debug("flowml: %s", error)  # it would be sent again, which changes nothing


def _header(out: Outgoing) -> dict[str, Any]:
    """Write all that is needed to create the run, or to find it, in another process."""
    found: dict[str, Any] = {"store": out.store() if out.store else None, "root": out.root.key if out.root else None}
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
        }
    return found


def _created(out: Outgoing) -> list[str]:
    info = out.created.result(0).info
    return [info.run_id, info.experiment_id, info.root_run_id]


def _reference(other: Outgoing | None) -> dict[str, Any] | None:
    if other is None:
        return None
    is_known = other.created.done() and not other.created.exception(0)
    return {"key": other.key, "created": _created(other) if is_known else None}


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
                facts = [each.name, each.register, each.alias, each.autologged, list(each.notes)]
                found.append(["model", facts, _of_model(each.serialized, mine)])
            case _:
                found.append([_NAMES[type(each)], asdict(each)])
    return found


def _place(scratch: Scratch, mine: Journal) -> list[Any]:
    """Name a folder of files by its place beside the journal, so that both can be moved.

    Raises:
        ValueError: If it is elsewhere, from before there was a journal.
    """
    place = scratch.path.relative_to(mine.path.parent)
    scratch.keep()
    return [str(place)]


def _of_model(model: Serialized, mine: Journal) -> dict[str, Any]:
    scratch = model.scratch
    place = _place(scratch, mine)[0] if scratch else None
    return {"key": model.key, "content": model.content, "name": model.name, "ids": dict(model.ids), "files": place}


@dataclass(slots=True)
class ReadBack:
    """The runs that a journal tells of.

    Attributes:
        journal: The journal.
        runs: Each run, in the order in which they were opened, with the store it goes to.
        closings: How those ended that have.
        torn: How many entries could not be read.
    """

    journal: Journal
    runs: dict[str, Outgoing] = field(default_factory=dict)
    stores: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    closings: dict[str, Closing] = field(default_factory=dict)
    torn: int = 0


class Reader:
    """Reads journals; what one tells of runs in another is put together.

    Attributes:
        all_runs: The runs of all journals, by key, and those that they hang under.
    """

    def __init__(self) -> None:
        self.all_runs: dict[str, Outgoing] = {}
        self._models: dict[str, Serialized] = {}

    def read(self, journals: Iterable[Journal]) -> list[ReadBack]:
        """Read journals.

        Returns:
            What each of them tells of; sorted, so that a run comes after the one that it hangs under.
        """
        headers: dict[str, tuple[ReadBack, Mapping[str, Any]]] = {}
        others: list[tuple[ReadBack, Entry]] = []
        found = []
        for journal in journals:
            one = ReadBack(journal)
            found.append(one)
            for entry in journal.entries():
                if entry.kind == "run":
                    headers[entry.run] = one, entry.data
                else:
                    others.append((one, entry))
        for key in headers:
            self._open(key, headers)
        for one, entry in others:
            try:
                self._add(one, entry)
            except (KeyError, TypeError, ValueError, IndexError) as error:
                one.torn += 1
                _logger.debug("flowml: an entry of %s is torn: %r", one.journal.path, error)
        return found

    def _open(self, key: str, headers: Mapping[str, tuple[ReadBack, Mapping[str, Any]]]) -> Outgoing:
        """Make a run of its header, and before it the one above."""
        if key in self.all_runs:
            return self.all_runs[key]
        if key not in headers:
            return self._elsewhere({"key": key, "created": None})
        one, header = headers[key]
        new, root = header.get("new"), header.get("root")
        out = Outgoing(
            None if new is None else self._new(new, headers),
            self._open(root, headers) if root and root in headers else None,
            key=key,
            is_restored=True,
        )
        out.journal = one.journal
        if header.get("created"):
            out.created.set_result(_made(header["created"]))
        self.all_runs[key] = one.runs[key] = out
        one.stores[key] = header.get("store") or {}
        return out

    def _new(self, new: Mapping[str, Any], headers: Mapping[str, tuple[ReadBack, Mapping[str, Any]]]) -> NewRun:
        def other(reference: Mapping[str, Any] | None) -> Outgoing | None:
            if reference is None:
                return None
            return self._open(reference["key"], headers) if reference["key"] in headers else self._elsewhere(reference)

        named = new["experiment"]
        experiment = Experiment(*named) if named else None
        return NewRun(
            name=new["name"],
            tags=new["tags"],
            started=new["started"],
            experiment=(lambda: experiment) if experiment else None,
            is_root=new["is_root"],
            above=other(new["above"]),
            reopens=new["reopens"],
            follows=other(new["follows"]),
        )

    def _elsewhere(self, reference: Mapping[str, Any]) -> Outgoing:
        """Refer to a run that no journal here tells of: MLflow has it, or will."""
        key = reference["key"]
        if key not in self.all_runs:
            out = self.all_runs[key] = Outgoing(None, None, key=key, is_restored=True)
            if reference.get("created"):
                out.created.set_result(_made(reference["created"]))
        return self.all_runs[key]

    def _add(self, one: ReadBack, entry: Entry) -> None:
        out = one.runs[entry.run]
        match entry.kind:
            case "records" | "kept":
                items = [self._item(form, one.journal) for form in entry.data]
                out.incoming.append(Taken(entry.number if entry.kind == "records" else 0, items))
            case "store":
                one.stores[entry.run] = entry.data["store"]
                if out.new and (named := entry.data["experiment"]):
                    experiment = Experiment(*named)
                    out.new = with_experiment(out.new, experiment)
            case "created":
                if not out.created.done():
                    out.created.set_result(_made(entry.data))
            case "closing":
                status, ended, rolls_up = entry.data
                one.closings[entry.run] = Closing(status, ended, rolls_up, out.children)
            case "child":
                out.children = out.children or CallSummary()
                out.children.add(SummarizedCall(**entry.data))
            case "loss":
                out.losses.add(entry.data)
            case _:
                raise ValueError(entry.kind)

    def _item(self, form: list[Any], journal: Journal) -> Sendable:
        match form:
            case ["metric", key, value, step, time]:
                return records.Metric(key, value, step), time
            case ["files", place]:
                return Scratch(_inside(journal, place))
            case ["given", model]:
                return self._model(model, journal)
            case ["model", [name, register, alias, autologged, notes], model]:
                serialized = self._model(model, journal)
                serialized.hold_restored()
                return SavedModel(name, register, alias, serialized, autologged, tuple(notes))
            case [kind, fields]:
                made: Sendable = _PLAIN[kind](**fields)
                return made
        raise ValueError(form)

    def _model(self, facts: Mapping[str, Any], journal: Journal) -> Serialized:
        found = self._models.get(facts["key"])
        if found is None:
            found = self._models[facts["key"]] = Serialized(facts["content"], facts["name"], key=facts["key"])
            found.is_restored = True
        found.ids |= facts["ids"]
        if facts["files"] and found.scratch is None:
            place = _inside(journal, facts["files"])
            found.scratch = Scratch(place) if place.is_dir() else None
        return found


def _inside(journal: Journal, place: str) -> Path:
    """Return where files are; never outside of the journal's folder, whatever it says.

    Raises:
        ValueError: If it says so.
    """
    folder = journal.path.parent
    path = (folder / place).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(place)
    return path


def with_experiment(new: NewRun, experiment: Experiment) -> NewRun:
    """Return a run that is to be created in an experiment."""
    return replace(new, experiment=lambda: experiment)


def _made(ids: Iterable[str]) -> Created:
    run_id, experiment_id, root_run_id = ids
    return Created(None, records.CurrentRun(run_id, experiment_id, root_run_id, None))
