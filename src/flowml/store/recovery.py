"""Sends what processes left in their journals: they were killed, or MLflow was away when they ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from flowml.errors import FlowmlError, TrackingError
from flowml.store.backend.connection import connect
from flowml.store.journal.journal import Journal, JournalError, JournalInUseError
from flowml.store.sending import creation, readback
from flowml.store.sending.queue import Experiment, Outgoing
from flowml.store.sending.writer import writer_of


@dataclass(slots=True)
class Recovery:
    """What became of journals.

    Attributes:
        sent: The ids of the runs of which all is in MLflow now, those that did not end among them.
        not_ended: Those of them that their process did not close.
        waiting: How many runs still wait.
        in_use: The journals of processes that are at work.
        problems: What went wrong, a line each.
    """

    sent: list[str] = field(default_factory=list)
    not_ended: list[str] = field(default_factory=list)
    waiting: int = 0
    in_use: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def recover(paths: Iterable[Path], *, to: str | None = None, patience: float = 120.0) -> Recovery:
    """Send what journals hold, and take it out of them.

    It can be done again after any interruption, and by several processes at a time: nothing is there twice.

    Args:
        paths: The journals.
        to: The tracking URI of another store than the one that they were meant for.
        patience: Seconds to wait while nothing arrives.

    Returns:
        What became of them.
    """
    found = Recovery()
    journals = _adopted(paths, found)
    try:
        by_store: defaultdict[tuple[str, str | None], list[tuple[readback.ReadBack, Outgoing]]] = defaultdict(list)
        read = readback.Reader().read(journals)
        stores = {key: store for one in read for key, store in one.stores.items()}
        for one in read:
            if one.torn:
                found.problems.append(
                    f"{one.journal.path.name}: {one.torn} entries could not be read, and are left out."
                )
            for key, out in one.runs.items():
                store = stores.get((out.root or out).key) or stores[key]
                if to:
                    _redirect(out, is_other=store.get("uri") != to)
                by_store[to or str(store.get("uri", "")), None if to else store.get("registry")].append((one, out))
        for (uri, registry), runs in by_store.items():
            _send(uri, registry, runs, found, patience)
    finally:
        for journal in journals:
            journal.close()
    return found


def _adopted(paths: Iterable[Path], found: Recovery) -> list[Journal]:
    journals = []
    for path in paths:
        try:
            journals.append(Journal.adopt(path))
        except JournalInUseError:
            found.in_use.append(path)
        except JournalError as error:
            found.problems.append(str(error))
    return journals


def _redirect(out: Outgoing, *, is_other: bool) -> None:
    """Let a run be made anew in another store, in an experiment that is named as the one it was in, or as its flow."""
    if not is_other or out.new is None:
        return
    out.created = type(out.created)()
    named = out.new.experiment() if out.new.experiment else None
    if named and named.name is None:
        name = out.new.tags.get("prefect.flow_name", out.new.name)
        out.new = readback.with_experiment(out.new, Experiment(None, name))


def _send(
    uri: str,
    registry: str | None,
    runs: list[tuple[readback.ReadBack, Outgoing]],
    found: Recovery,
    patience: float,
) -> None:
    try:
        writer = writer_of(connect(uri, registry))
    except FlowmlError as error:
        found.waiting += len(runs)
        found.problems.append(str(error))
        return
    closings = {key: closing for one, _ in runs for key, closing in one.closings.items()}  # in the order they came
    outs = {out.key: out for _, out in runs}
    for key, out in outs.items():
        if key not in closings:
            writer.tell(out)
    # A flow is summed up from what is below it, which another process may have closed after it was.
    for key, closing in sorted(closings.items(), key=lambda each: each[1].rolls_up):
        if key in outs:
            writer.close(outs[key], closing)
    try:
        writer.flush(patience)
    except TrackingError as error:
        found.problems += [str(each) for each in (error, *error.others)]
    for one, out in runs:
        run_id = creation.id_of(out)
        if out.journal is not None or run_id is None:  # it is taken from the journal when MLflow has it
            found.waiting += 1
            found.problems += [str(each) for each in out.problems]
        else:
            found.sent.append(run_id)
            if out.key not in one.closings and out.new is not None:
                found.not_ended.append(run_id)
    found.problems = list(dict.fromkeys(found.problems))
