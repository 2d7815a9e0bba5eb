"""The processes that train together in one task: what each logs, and which of them did not come to its end."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

from flowml import process, records
from flowml.errors import TrackingError
from flowml.store.by_hand.other_rank import OtherRank, on_other_rank
from flowml.store.runs import NoRun
from flowml.store.sending.writer import writer_of

if TYPE_CHECKING:
    from flowml.store.own_run import JoinedRun, OwnRun
    from flowml.store.runs import Run, Say

TAG = "flowml.rank."
"""Begins the tags that tell of each rank: its number follows."""
_RUNNING, _FINISHED = "running", "finished"


def began(rank: int, restart: int) -> records.Tag:
    """Return the note that a rank is at work, which stays as it is if the rank is killed.

    Args:
        rank: Its number.
        restart: How often its training was begun again.
    """
    return _note(rank, restart, _RUNNING)


def ended(rank: int, restart: int, error: str | None) -> records.Tag:
    """Return the note that a rank has ended.

    Args:
        rank: Its number.
        restart: How often its training was begun again.
        error: Why it failed, if it did.
    """
    return _note(rank, restart, f"failed: {error}"[:500] if error else _FINISHED)


def _note(rank: int, restart: int, state: str) -> records.Tag:
    found = process.in_tags(process.tags())
    return records.Tag(
        f"{TAG}{rank}",
        json.dumps({"state": state, "restart": restart, "process": dataclasses.asdict(found) if found else None}),
    )


def told_to_children(run: Run) -> tuple[records.Caller, Mapping[str, str]]:
    """Return what a child process needs to log to a run: for flowml, and in variables for plain MLflow.

    Raises:
        TrackingError: If there is no such run, and none that is found later.
    """
    caller = run.as_caller()
    target = run.own or run.target
    if target is None:
        return caller, {}
    try:
        info = run.info
    except TrackingError:
        if caller.key is None:
            raise
        info = None  # it is found by its key when MLflow is back
    connection = target.connection
    variables = {"MLFLOW_TRACKING_URI": connection.uri}
    if connection.registry_uri:
        variables["MLFLOW_REGISTRY_URI"] = connection.registry_uri
    if info is not None:
        caller = dataclasses.replace(caller, run=info, tag=None, key=None)
        variables |= {"MLFLOW_EXPERIMENT_ID": info.experiment_id, "MLFLOW_RUN_ID": info.run_id}
    return caller, variables


def forget_told_run() -> None:
    """Forget the run that the environment names for plain MLflow, where it is joined by other means."""
    os.environ.pop("MLFLOW_RUN_ID", None)


def lost(run: Run) -> list[str]:
    """Ask MLflow which ranks of a task did not end as they should.

    Args:
        run: The task's run, which has ended.

    Returns:
        A line for each, in order.

    Raises:
        TrackingError: If MLflow fails.
    """
    target: OwnRun | JoinedRun | None = run.own or run.target
    if target is None:
        return []
    connection, out = target.connection, target.out
    writer = writer_of(connection)
    run_id = writer.created(out).info.run_id
    tags: Mapping[str, str] = writer.ask(lambda: connection.client.get_run(run_id).data.tags, out.delay)
    ranks = sorted((int(number), tags[key]) for key in tags if (number := key.removeprefix(TAG)).isdecimal())
    return [line for number, told in ranks if (line := _line(number, told))]


def _line(rank: int, told: str) -> str | None:
    """Tell what became of a rank; None if it ended, or if somebody else wrote the tag."""
    try:
        note = json.loads(told)
        state, found = str(note["state"]), process.Process(**note["process"]) if note["process"] else None
    except (ValueError, TypeError, KeyError):
        return None
    if state == _FINISHED:
        return None
    where = f" (process {found.pid} on {found.host})" if found else ""
    if state != _RUNNING:
        return f"rank {rank}{where} {state}"
    is_gone = found.is_gone() if found else None
    became = {True: "was killed, or died", False: "is still at work", None: "did not tell of its end"}[is_gone]
    return f"rank {rank}{where} {became}"


class OtherRankRun(NoRun):
    """The run of a task as another rank than the first has it: what it logs goes nowhere, or under ``rank_<n>/``.

    Args:
        joined: The task's run, as a run that another process opened.
        rank: The rank's number.
        is_kept: Whether its metrics and files are logged, under its name.
    """

    is_outermost = True

    def __init__(self, joined: Run, rank: int, *, is_kept: bool) -> None:
        self.joined = joined
        self._prefix = f"rank_{rank}/" if is_kept else None

    @property
    def info(self) -> records.CurrentRun | None:
        """Which run the task's is."""
        return self.joined.info

    def put(self, new_records: Iterable[records.Record]) -> None:
        """Log metrics and files under the rank's name, where they are kept."""
        if self._prefix is None:
            return
        kept: list[records.Record] = []
        for record in new_records:
            if isinstance(record, records.Metric):
                kept.append(dataclasses.replace(record, key=f"{self._prefix}{record.key}"))
            elif isinstance(record, records.Text | records.Blob | records.File):
                kept.append(dataclasses.replace(record, path=f"{self._prefix}{record.path}".rstrip("/")))
        self.joined.put(kept)

    def active(self, say: Say) -> AbstractContextManager[None]:
        """Have plain ``mlflow.*`` calls go where the rank's records go; nowhere, where that cannot be known."""
        known = None
        with suppress(TrackingError):
            known = self.joined.info
        return on_other_rank(OtherRank(known, self._prefix if known else None, say))

    def settle(self) -> None:
        """Wait for what was logged.

        Raises:
            TrackingError: If something is not in MLflow.
        """
        self.joined.settle()
