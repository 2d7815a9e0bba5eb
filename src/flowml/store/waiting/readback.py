"""Runs read back from journals: those that other processes left, and those of this one that memory has no room for."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flowml import records
from flowml.secrets.uris import without_credentials
from flowml.store.flow_end.summary import CallSummary, SummarizedCall
from flowml.store.journal.journal import Entry, Journal
from flowml.store.journal.scratch import Scratch
from flowml.store.models.identity import Serialized
from flowml.store.models.log_model import SavedModel
from flowml.store.waiting.journaled import PLAIN
from flowml.store.waiting.queue import Closing, Created, Experiment, NewRun, Outgoing, Sendable, Taken

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ReadBack:
    """The runs that a journal tells of.

    Attributes:
        journal: The journal.
        runs: Each run by its key, in the order in which they were opened.
        stores: Where each goes.
        closings: How those ended that have.
        torn: The numbers of entries that could not be read.
    """

    journal: Journal
    runs: dict[str, Outgoing] = field(default_factory=dict)
    stores: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    closings: dict[str, Closing] = field(default_factory=dict)
    torn: list[int] = field(default_factory=list)


@contextmanager
def _torn(one: ReadBack, entry: Entry) -> Iterator[None]:
    """Note an entry that cannot be read, and go on with the others."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        one.torn.append(entry.number)
        _logger.debug("flowml: an entry of %s is torn: %r", one.journal.path, error)


class Reader:
    """Reads journals; what one tells of runs in another is put together.

    Args:
        known: Runs that this process holds, by key, where the journals are its own.

    Attributes:
        all_runs: The runs of all journals, by key, and those that they hang under.
    """

    def __init__(self, known: Mapping[str, Outgoing] | None = None) -> None:
        self.all_runs = dict(known or {})
        self._is_ours = known is not None
        self._models: dict[str, Serialized] = {}

    def read(self, journals: Iterable[Journal], *, only: Collection[str] | None = None) -> list[ReadBack]:
        """Read journals.

        Args:
            journals: The journals.
            only: The keys of the runs. Default: all.

        Returns:
            What each of them tells of; sorted, so that a run comes after the one that it hangs under.
        """
        headers: dict[str, tuple[ReadBack, Entry]] = {}
        others: list[tuple[ReadBack, Entry]] = []
        found = []
        for journal in journals:
            one = ReadBack(journal)
            found.append(one)
            for entry in journal.entries() if only is None else [each for key in only for each in journal.entries(key)]:
                if entry.kind == "run":
                    headers[entry.run] = one, entry
                else:
                    others.append((one, entry))
        for key, (one, entry) in headers.items():
            with _torn(one, entry):
                one.stores[key] = entry.data["store"] or {}
                one.runs[key] = self._open(key, headers)
        for one, entry in others:
            with _torn(one, entry):
                self._add(one, entry)
        return found

    def _open(
        self, key: str, headers: Mapping[str, tuple[ReadBack, Entry]], created: list[str] | None = None
    ) -> Outgoing:
        """Make a run of its header, and before it the one above; without one, refer to a run that MLflow has, or will.

        Args:
            key: The run's.
            headers: Those that there are.
            created: As what it was created, if whoever refers to it knows that.
        """
        if key in self.all_runs:
            return self.all_runs[key]
        if key not in headers:
            out = Outgoing(None, None, key=key, is_restored=True)
        else:
            one, entry = headers[key]
            header, root = entry.data, entry.data.get("root")
            found_by, opened = header.get("found_by"), None
            if found_by in headers:  # it belongs to the same outermost run as what its own process left
                opened = self._open(found_by, headers)
                root = (opened.root or opened).key
            out = Outgoing(
                None if header.get("new") is None else self._new(header["new"], headers),
                self._open(root, headers) if root in headers or root in self.all_runs else None,
                key=key,
                found_by=found_by,
                opened=opened,
                is_restored=not self._is_ours,
            )
            out.journal, created = one.journal, header.get("created")
        if created:
            out.note_created(_made(created))
        self.all_runs[key] = out
        return out

    def _new(self, new: Mapping[str, Any], headers: Mapping[str, tuple[ReadBack, Entry]]) -> NewRun:
        def other(reference: Mapping[str, Any] | None) -> Outgoing | None:
            return self._open(reference["key"], headers, reference["created"]) if reference else None

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
            is_shared=new.get("is_shared", False),  # older versions wrote none
        )

    def _add(self, one: ReadBack, entry: Entry) -> None:
        out = one.runs[entry.run]
        match entry.kind:
            case "records" | "kept":
                items = [self._item(form, one.journal) for form in entry.data]
                left = [item for item in items if not (isinstance(item, Scratch) and _is_sent(item))]
                out.incoming.append(Taken(entry.number if entry.kind == "records" else 0, left))
            case "store":
                one.stores[entry.run] = entry.data["store"]
                if out.new and (named := entry.data["experiment"]):
                    experiment = Experiment(*named)
                    out.new = with_experiment(out.new, experiment)
            case "created":
                if not out.created.done():
                    out.note_created(_made(entry.data))
            case "closing":
                one.closings[entry.run] = _closing(out, *entry.data)
            case "child":
                out.children = out.children or CallSummary()
                out.children.add(SummarizedCall(**entry.data))
            case "loss":
                out.losses.add(entry.data)
            case "figure":
                task, place = entry.data
                out.figures.restore(task, _inside(one.journal, place))
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
            case ["model", [name, register, alias, autologged, notes, *more], model]:  # an older one has less
                serialized = self._model(model, journal)
                serialized.hold_restored()
                return SavedModel(name, register, alias, serialized, autologged, tuple(notes), *more)
            case [kind, fields]:
                made: Sendable = PLAIN[kind](**fields)
                return made
        raise ValueError(form)

    def know(self, uri: str) -> None:
        """Let models have their ids under the address of a store as it is here, with credentials."""
        bare = without_credentials(uri)
        for model in self._models.values():
            if bare in model.ids:
                model.ids[uri] = model.ids[bare]

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


def _closing(out: Outgoing, status: records.Status, ended: int, rolls_up: bool, sums_up: bool = False) -> Closing:  # noqa: FBT001, FBT002 - as an entry holds them; older versions wrote three
    if sums_up:
        out.children = out.children or CallSummary()
    return Closing(status, ended, rolls_up, out.children)


def _is_sent(files: Scratch) -> bool:
    """Tell whether MLflow has taken files: they are removed then, before the journal's entry is."""
    return not files.path.is_dir()


def _inside(journal: Journal, place: str) -> Path:
    """Return where files are; never outside of the journal's own, whatever it says.

    Raises:
        ValueError: If it says so.
    """
    folder = journal.files.resolve()
    path = (journal.path.parent / place).resolve()
    if path == folder or not path.is_relative_to(folder):
        raise ValueError(place)
    return path


def with_experiment(new: NewRun, experiment: Experiment) -> NewRun:
    """Return a run that is to be created in an experiment."""
    return replace(new, experiment=lambda: experiment)


def _made(ids: Iterable[str]) -> Created:
    run_id, experiment_id, root_run_id = ids
    return Created(None, records.CurrentRun(run_id, experiment_id, root_run_id, None))
