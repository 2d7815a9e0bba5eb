"""Sends what processes left in their journals: they were killed, or MLflow was away when they ended."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from flowml.errors import FlowmlError, TrackingError
from flowml.secrets.uris import without_credentials
from flowml.store.backend import embedded, offline
from flowml.store.backend.connection import Connection, apart, connect
from flowml.store.journal.journal import Journal
from flowml.store.journal.on_disk import JournalError, JournalInUseError
from flowml.store.sending import creation
from flowml.store.sending.writer import writer_of
from flowml.store.waiting import readback
from flowml.store.waiting.queue import Experiment, Outgoing


@dataclass(slots=True)
class Recovery:
    """What became of journals.

    Attributes:
        sent: The ids of the runs of which all is in MLflow now, those that did not end among them.
        closed: How many of them were closed here, because their process did not do it.
        waiting: How many runs still wait.
        in_use: The journals of processes that are at work.
        problems: What went wrong, a line each.
        left_out: What MLflow will never take of the runs that were sent, a line each.
    """

    sent: list[str] = field(default_factory=list)
    closed: int = 0
    waiting: int = 0
    in_use: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


Close: TypeAlias = "Callable[[Connection, Collection[str]], int]"


def recover(
    paths: Iterable[Path], *, to: str | None = None, patience: float = 120.0, close: Close | None = None
) -> Recovery:
    """Send what journals hold, and take it out of them.

    It can be done again after any interruption, and by several processes at a time: nothing is there twice.

    Args:
        paths: The journals.
        to: The tracking URI of another store than the one that they were meant for.
        patience: Seconds to wait while nothing arrives.
        close: Closes those of some runs of a store that ended without a word, and says how many. What cannot be closed
            yet is asked for again the next time. Default: none is.

    Returns:
        What became of them.
    """
    found = Recovery()
    journals = _adopted(paths, found)
    try:
        by_store: defaultdict[tuple[str, str | None], list[tuple[readback.ReadBack, Outgoing]]] = defaultdict(list)
        reader = readback.Reader()
        read = reader.read(journals)
        stores = {key: store for one in read for key, store in one.stores.items()}
        for one in read:
            if one.torn:
                copy = one.journal.set_aside(one.torn)
                text = f"{len(one.torn)} entries could not be read, and are left out; {copy} has them."
                found.problems.append(f"{one.journal.path.name}: {text}")
            for key, out in one.runs.items():
                store = stores.get((out.root or out).key) or stores[key]
                uri, registry = _moved_along(store), store.get("registry")
                if to and uri != offline.uri():  # what was tracked offline is copied from there
                    found.left_out += _redirected(out, uri) if _bare(uri) != _bare(to) else []
                    uri, registry = to, None
                by_store[uri, registry].append((one, out))
        for (uri, registry), runs in by_store.items():
            try:
                if uri != to:
                    _require_its_file(uri)
                connection = apart(uri, registry) if offline.is_on() or uri == offline.uri() else connect(uri, registry)
                reader.know(connection.uri)
                arrived = _send(connection, runs, found, patience)
            except FlowmlError as error:
                found.waiting += sum(out.journal is not None for _, out in runs)
                found.problems += _lines(error)
                continue
            if close:
                _close(connection, arrived, found, patience, close)
            _count((out for _, out in runs), arrived, found)
        found.problems = list(dict.fromkeys(found.problems))
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


def _moved_along(store: Mapping[str, Any]) -> str:
    """Return a store's address; of its project's own the one here, if there is none any more where it was."""
    uri = str(store.get("uri", ""))
    if not store.get("is_own"):
        return uri
    own = {Path(each.removeprefix("sqlite:///")): each for each in (embedded.default_uri(), offline.uri())}
    was = Path(uri.removeprefix("sqlite:///"))
    here = next((file for file in own if file.parts[-2:] == was.parts[-2:]), was)
    is_there = os.path.exists(was)  # noqa: PTH110 - a `Path` raises where somebody else's folder is above it
    return uri if is_there or here == was else own[here]


def _require_its_file(uri: str) -> None:
    """Make sure that a database in a file is there: MLflow would make an empty one, where a disk is missing.

    Raises:
        TrackingError: If it is not.
    """
    file = uri.removeprefix("sqlite:///").partition("?")[0]
    if not uri.startswith("sqlite:///") or embedded.is_embedded(uri) or os.path.exists(file):  # noqa: PTH110 - as above
        return
    text = f"{file} is not there, for which runs wait. Bring it back, or send them elsewhere with `flowml sync --to`."
    raise TrackingError(text, uri=uri, waits=True)


def _bare(uri: str) -> str:
    """Return a store's address as journals hold it, to compare it."""
    return without_credentials(uri).rstrip("/")


def _redirected(out: Outgoing, uri: str) -> list[str]:
    """Let a run be made anew in another store, in an experiment that is named as the one it was in, or as its flow.

    Returns:
        What the other store does not get, for the one that it was meant for has it.
    """
    if out.new is None:
        return []
    info = out.created.result(0).info if out.created.done() else None
    out.created = type(out.created)()
    named = out.new.experiment() if out.new.experiment else None
    if named and named.name is None:
        name = out.new.tags.get("prefect.flow_name", out.new.name)
        out.new = readback.with_experiment(out.new, Experiment(None, name))
    return [f"{out.new.name}: what {uri} has of it already, as the run {info.run_id}, stays there."] if info else []


def _lines(error: FlowmlError) -> list[str]:
    return [str(each) for each in (error, *getattr(error, "others", ()))]


def _send(
    connection: Connection, runs: list[tuple[readback.ReadBack, Outgoing]], found: Recovery, patience: float
) -> dict[Outgoing, str]:
    """Send runs.

    Returns:
        Those of which all is in MLflow, with their ids there.
    """
    writer = writer_of(connection)
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
        found.problems += _lines(error)
    left = set(writer.waiting())
    return {out: run_id for out in outs.values() if out not in left and (run_id := creation.id_of(out)) is not None}


def _close(
    connection: Connection, arrived: dict[Outgoing, str], found: Recovery, patience: float, close: Close
) -> None:
    """Close the runs that are in MLflow now and did not end, and let the flows above them tell of that.

    Their journal keeps them until it is done; those of which it is not are taken out of `arrived`.
    """
    left = {run_id: out for out, run_id in arrived.items() if out.journal and out.new and not out.closed}
    if not left:
        return
    try:
        found.closed += close(connection, left.keys())
        for out in left.values():
            out.closed = True
        writer_of(connection).tell_again(left.values(), patience)
    except FlowmlError as error:
        found.problems += _lines(error)
    for out in left.values():
        if out.journal:
            del arrived[out]


def _count(outs: Iterable[Outgoing], arrived: Mapping[Outgoing, str], found: Recovery) -> None:
    for out in outs:
        told = [str(each) for each in out.problems]
        if out in arrived:
            found.sent.append(arrived[out])
            found.left_out += told
        else:
            found.waiting += 1
            found.problems += told
