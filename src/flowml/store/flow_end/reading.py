"""Reads of a flow's run that ended what is judged then: its metrics, its datasets and those of the run before."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flowml.locks import RLock
from flowml.store.backend.notifications import Notification

_REST = 5.0  # seconds that a fork waits for what is being read
_lock = RLock()


@dataclass(frozen=True, slots=True)
class LoggedDataset:
    """A dataset as a run logged it."""

    digest: str
    profile: str  # JSON
    run_id: str
    started: int  # the run, in milliseconds since 1970


def metrics_of(ended: Notification) -> Mapping[str, float]:
    """Read the last value of each metric of the run."""
    with _reading(ended):
        metrics: Mapping[str, float] = ended.client.get_run(ended.run_id).data.metrics
    return metrics


def dataset_of(ended: Notification, name: str) -> tuple[LoggedDataset | None, LoggedDataset | None]:
    """Read a dataset as this flow logged it last, and as a finished run of another flow run did before it."""
    root = ended.tags.get("flowml.root_run_id", ended.run_id)
    mark = "'" if "'" not in name else '"'
    named = f"datasets.name = {mark}{name}{mark}"
    mine = _latest(ended, f"{named} and tags.`flowml.root_run_id` = '{root}'", name)
    if mine is None:
        return None, None
    others = f"{named} and attributes.status = 'FINISHED' and tags.`flowml.root_run_id` != '{root}'"
    return mine, _latest(ended, f"{others} and attributes.start_time <= {mine.started}", name)


def _latest(ended: Notification, wanted: str, name: str) -> LoggedDataset | None:
    with _reading(ended):
        runs: Iterable[Any] = ended.client.search_runs(
            [ended.experiment_id], wanted, order_by=["attributes.start_time DESC"], max_results=1
        )
    for run in runs:
        for dataset_input in run.inputs.dataset_inputs:
            if dataset_input.dataset.name == name:
                profile = dataset_input.dataset.profile or "{}"
                return LoggedDataset(dataset_input.dataset.digest, profile, run.info.run_id, run.info.start_time)
    return None


@contextmanager
def _reading(ended: Notification) -> Iterator[None]:
    """Read while no fork is made: a process that is forked in the middle of it cannot open the database."""
    if ended.client.tracking_uri.startswith("http"):
        yield  # there is no database here, and a server may hang
        return
    with _lock:
        yield


class _Fork:
    """What a fork does to who reads."""

    def __init__(self) -> None:
        self._of_thread = threading.local()  # several may fork at the same time

    def before(self) -> None:
        self._of_thread.is_held = _lock.acquire(timeout=_REST)

    def after(self) -> None:
        if self._of_thread.is_held:  # where another thread held it, it is free in the child anyway
            _lock.release()


if hasattr(os, "register_at_fork"):
    _fork = _Fork()
    os.register_at_fork(before=_fork.before, after_in_parent=_fork.after, after_in_child=_fork.after)
