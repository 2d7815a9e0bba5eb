"""Children that other processes summed up: noted in tags of the run above, and counted there at its end."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from flowml import mlflow_limits, records
from flowml.locks import RLock
from flowml.secrets.uris import without_credentials
from flowml.store.flow_end import again
from flowml.store.flow_end.summary import NOTED, CallSummary, SummarizedCall, noted_in
from flowml.store.waiting.queue import Created, Outgoing

if TYPE_CHECKING:
    from mlflow import MlflowClient


class ChildNotes:
    """The children that one process sums up for a run of another process, which reads it from tags of that run.

    A tag holds as many children as it has room for, so that thousands are some dozens of tags.

    Args:
        out: What is sent of the run: its own, for one sender to keep the order of what a tag held.
    """

    def __init__(self, out: Outgoing) -> None:
        self._out = out
        self._lock = RLock()
        self._key, self._text = "", ""

    def add(self, child: SummarizedCall, put: Callable[[Outgoing, Iterable[records.Record]], None]) -> Outgoing:
        """Note a child; return what that is sent with."""
        row = _row(child)
        with self._lock:
            if not self._key or len(self._text) + len(row) >= mlflow_limits.TAG:
                self._key, self._text = f"{NOTED}{uuid.uuid4().hex}", row
            else:
                self._text += f"\n{row}"
            put(self._out, [records.Tag(self._key, self._text)])
        return self._out


def notes_below(uri: str, out: Outgoing, pid: int) -> ChildNotes:
    """Return this process's notes below a run; one that MLflow does not tell now is found later, by its key."""
    is_known = out.created.done() and not out.created.exception(0)
    return _notes_below(uri, out.created.result(0).info if is_known else out.public_key, pid)


@lru_cache(maxsize=100)
def _notes_below(uri: str, run: records.CurrentRun | str, pid: int) -> ChildNotes:  # noqa: ARG001 - each process has its own
    out = Outgoing(None, None, store=lambda: {"uri": without_credentials(uri)})
    if isinstance(run, str):
        out.found_by = run
    else:
        out.created.set_result(Created(None, run))
    return ChildNotes(out)


def count(client: MlflowClient, run_id: str, call_summary: CallSummary) -> None:
    """Count the children that other processes noted."""
    for calls in noted_in(client.get_run(run_id).data.tags).values():
        for call in calls:
            call_summary.add(call)


def take_away(client: MlflowClient, run_id: str, call_summary: CallSummary, *, is_shared: bool) -> bool:
    """Take the notes away that the run's files hold, too.

    Args:
        client: MLflow's client.
        run_id: The run.
        call_summary: What was summed up of it.
        is_shared: Whether another process may have summed up calls of it, too.

    Returns:
        Whether the run tells of more than was summed up.
    """
    from mlflow.exceptions import MlflowException

    if not (is_shared or noted_in(client.get_run(run_id).data.tags)):
        return False
    told = again.calls_in_files(client, run_id) or []
    in_files = {call.key for call in told}
    noted = noted_in(client.get_run(run_id).data.tags)  # read late: a process that is at work may add to one
    for tag, calls in noted.items():
        if in_files.issuperset(call.key for call in calls):
            try:
                client.delete_tag(run_id, tag)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # another was quicker
                    raise
    return any(not call_summary.has(call) for calls in (told, *noted.values()) for call in calls)


def _row(child: SummarizedCall) -> str:
    """Write a child on one line that a tag has room for; its longest parameters are shortened where it must be."""
    for most in (mlflow_limits.TAG, 250, 25):
        params = {key: value[:most] for key, value in child.params.items()}
        row = json.dumps(dataclasses.asdict(child) | {"params": params})
        if len(row) < mlflow_limits.TAG:
            return row
    return json.dumps(dataclasses.asdict(child) | {"params": {}, "metrics": {}, "inputs": ()})
