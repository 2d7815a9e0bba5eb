"""Tells whoever listens what came to be in MLflow: a flow's run closed, a model logged, registered, promoted."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Kind: TypeAlias = Literal["run finished", "model logged", "model registered", "model promoted"]

_logger = logging.getLogger(__name__)
_listeners: list[Callable[[News], None]] = []
_REST = 5.0  # seconds that a fork waits for what is being read
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class News:
    """What came to be in MLflow.

    Attributes:
        kind: What it is.
        client: The client that reads more of it.
        experiment_id: The run's experiment.
        run_id: The run that it came to be in.
        tags: The run's tags: whose it is.
        facts: What is particular to it.
    """

    kind: Kind
    client: MlflowClient
    experiment_id: str
    run_id: str
    tags: Mapping[str, str]
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoggedDataset:
    """A dataset as a run logged it."""

    digest: str
    profile: str  # JSON
    run_id: str
    started: int  # the run, in milliseconds since 1970


def listen(listener: Callable[[News], None]) -> None:
    """Tell a listener of all that is sent from now on; it is called in the sender's thread, and must not wait."""
    if listener not in _listeners:
        _listeners.append(listener)


def tell(news: News) -> None:
    """Tell all who listen; what goes wrong there is theirs."""
    for listener in _listeners:
        try:
            listener(news)
        except Exception:
            _logger.debug("a listener failed", exc_info=True)


def tell_closed(client: MlflowClient, run: Run, status: str) -> None:
    """Tell that a run was closed which its own process left open, if it is a flow's."""
    if run.data.tags.get("flowml.kind") == "flow":
        facts = {"status": status, "name": str(run.info.run_name)}
        tell(News("run finished", client, run.info.experiment_id, run.info.run_id, run.data.tags, facts))


def metrics_of(news: News) -> Mapping[str, float]:
    """Read the last value of each metric of the run."""
    with _reading():
        metrics: Mapping[str, float] = news.client.get_run(news.run_id).data.metrics
    return metrics


def dataset_of(news: News, name: str) -> tuple[LoggedDataset | None, LoggedDataset | None]:
    """Read a dataset as this flow logged it last, and as a finished run of another flow run did before it."""
    root = news.tags.get("flowml.root_run_id", news.run_id)
    mark = "'" if "'" not in name else '"'
    named = f"datasets.name = {mark}{name}{mark}"
    mine = _latest(news, f"{named} and tags.`flowml.root_run_id` = '{root}'", name)
    if mine is None:
        return None, None
    others = f"{named} and attributes.status = 'FINISHED' and tags.`flowml.root_run_id` != '{root}'"
    return mine, _latest(news, f"{others} and attributes.start_time <= {mine.started}", name)


def _latest(news: News, wanted: str, name: str) -> LoggedDataset | None:
    with _reading():
        found: Iterable[Any] = news.client.search_runs(
            [news.experiment_id], wanted, order_by=["attributes.start_time DESC"], max_results=1
        )
    for run in found:
        for given in run.inputs.dataset_inputs:
            if given.dataset.name == name:
                profile = given.dataset.profile or "{}"
                return LoggedDataset(given.dataset.digest, profile, run.info.run_id, run.info.start_time)
    return None


@contextmanager
def _reading() -> Iterator[None]:
    """Read while no fork is made: a process that is forked in the middle of it cannot open the database."""
    with _lock:
        yield


class _Fork:
    """What a fork does to who reads."""

    def __init__(self) -> None:
        self._is_held = False

    def before(self) -> None:
        self._is_held = _lock.acquire(timeout=_REST)

    def in_parent(self) -> None:
        if self._is_held:
            _lock.release()

    def in_child(self) -> None:
        global _lock  # noqa: PLW0603 - who held the old one is not in this process
        _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    _fork = _Fork()
    os.register_at_fork(before=_fork.before, after_in_parent=_fork.in_parent, after_in_child=_fork.in_child)
