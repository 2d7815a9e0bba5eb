"""What flows have not brought to MLflow yet, or never will: records that wait, records lost, runs left open."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from flowml import settings
from flowml.formats import size
from flowml.ops.doctor.findings import Finding, Setup
from flowml.ops.runs import reading
from flowml.ops.sync.waiting import waiting as waiting_offline
from flowml.process import is_gone
from flowml.store.backend.failures import explained
from flowml.store.backend.in_force import is_there
from flowml.store.flow_end import losses
from flowml.store.journal.left import waiting

if TYPE_CHECKING:
    from mlflow.entities import Run

_STALE = 3600.0  # seconds after which nobody is going to send what waits
_RECENT = 500  # runs that are looked at
_SCRATCH = re.compile(r"flowml-[a-z0-9_]{8}")  # as `store.scratch` names them


def records(_: Setup) -> Iterator[Finding]:
    """Look for files that wait to be sent, and for runs that say that some of their records were lost."""
    there = (folder for folder in Path(tempfile.gettempdir()).glob("flowml-*") if _SCRATCH.fullmatch(folder.name))
    weighed = [(folder, *_weight(folder)) for folder in there]
    stale = [(folder, weight) for folder, weight, age in weighed if weight and age > _STALE]
    fresh = sum(weight for _, weight, age in weighed if age <= _STALE)
    if stale:
        total = sum(weight for _, weight in stale)
        yield Finding(
            "warning",
            f"{len(stale)} folders with {total / 2**20:.1f} MiB of files were never sent; their processes were killed, "
            f"or wait for MLflow for more than an hour: {', '.join(str(folder) for folder, _ in stale[:3])}",
            "If no flow runs on this machine, remove them.",
        )
    left = [each for each in waiting() if each.is_left]
    if left:
        total, since = sum(each.size for each in left), datetime.fromtimestamp(left[0].since).astimezone()
        yield Finding(
            "warning",
            f"{len(left)} journals with {size(total)} wait for MLflow, since {since:%Y-%m-%d %H:%M}: their processes "
            "were killed, or MLflow was away when they ended",
            "flowml sync",
        )
    lost = _lost()
    if lost:
        count, reason = sum(map(len, lost.values())), next(iter(next(iter(lost.values()))))
        yield Finding(
            "warning",
            f"{count} losses in {len(lost)} of the last {_RECENT} runs: {', '.join(list(lost)[:3])}; {reason[:200]}",
            "Their tag flowml.tracking_error says what is missing, and why.",
        )
    if not stale and not lost and not left:
        yield Finding(
            "ok", f"{fresh / 2**20:.1f} MiB of files wait to be sent" if fresh else "Nothing waits to be sent"
        )


def open_runs(_: Setup) -> Iterator[Finding]:
    """Look for open runs whose process is gone."""
    if not is_there():
        yield Finding("ok", "There are no runs yet")
        return
    open_ones = _recent("attributes.status = 'RUNNING' and tags.`flowml.process` LIKE '%'")
    left = [run for run in open_ones if is_gone(run.data.tags)]
    if left:
        names = ", ".join(str(run.info.run_name) for run in left[:3])
        yield Finding("warning", f"{len(left)} runs are open while their process is gone: {names}", "flowml reap")
    else:
        yield Finding("ok", "No run was left open on this machine")


def offline_runs(_: Setup) -> Iterator[Finding]:
    """Look for runs that were tracked offline and not copied."""
    there = waiting_offline()
    if there is None:
        yield Finding("ok", "Nothing was tracked offline here")
    elif there.runs and not settings.current().offline:
        yield Finding("warning", str(there), "flowml sync")
    else:
        yield Finding("ok", str(there))


def _lost() -> dict[str, set[str]]:
    """Return what runs say that is lost, by the name of the run; a flow's repeats what is said below it."""
    runs = _recent("tags.`flowml.kind` LIKE '%'") if is_there() else []
    ids = {run.info.run_id for run in runs}
    losses_of: dict[str, set[str]] = {}
    for run in runs:
        tags = run.data.tags
        is_repeated = tags.get("mlflow.parentRunId") in ids
        if (texts := losses.in_tags(tags)) and not is_repeated:
            losses_of.setdefault(str(run.info.run_name), set()).update(texts)
    return losses_of


def _recent(mine: str) -> list[Run]:
    store = reading()
    with explained(store.uri):
        return list(islice(store.runs.newest(mine, page=_RECENT), _RECENT))


def _weight(folder: Path) -> tuple[int, float]:
    """Return the bytes in a folder, and the seconds since something was put there."""
    size, last = 0, 0.0
    for file in [folder, *folder.rglob("*")]:
        try:
            stat = file.stat()
        except OSError:  # it is being sent and removed at this moment, or another user's
            continue
        last = max(last, stat.st_mtime)
        size += stat.st_size if file.is_file() else 0
    return size, time.time() - last
