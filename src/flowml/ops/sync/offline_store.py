"""Copies the offline store of this project to where its runs are meant to be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowml.ops.sync.target import choose_target, settle
from flowml.ops.sync.waiting import is_there
from flowml.secrets.uris import without_credentials
from flowml.store.backend import embedded, offline
from flowml.store.backend.connection import apart
from flowml.store.backend.failures import explained
from flowml.store.backend.paging import paged
from flowml.store.copying.copy_store import copy, has_content
from flowml.store.copying.ends import Copied, Ends
from flowml.store.copying.pruning.memory import Memory
from flowml.store.copying.pruning.prune import prune_copied
from flowml.store.copying.runs import all_of, is_copied

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment
    from mlflow.tracing.client import TracingClient


@dataclass(slots=True)
class Synced:
    """What was done with the offline store.

    Attributes:
        to: Where it was copied to, without credentials; None if there is nothing to copy.
        dry_run: Whether nothing was done in truth.
        waiting: How many runs were to be copied.
        copied: What was copied.
        pruned: How many runs were removed from the offline store.
        missing: What was not removed there, because its copy is not there any more.
    """

    to: str | None = None
    dry_run: bool = False
    waiting: int = 0
    copied: Copied = field(default_factory=Copied)
    pruned: int = 0
    missing: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the whole report as plain values."""
        return dataclasses.asdict(self)

    @property
    def lines(self) -> list[str]:
        """Say it for people."""
        if self.to is None:
            return ["Nothing was tracked offline here."]
        if self.dry_run:
            return [f"{self.waiting} runs would be copied to {self.to}; {self.copied.before} are there already."]
        done = self.copied
        counts = {"runs": done.runs, "metric points": done.points, "artifacts": done.files}
        counts |= {"logged models": done.models, "registered versions": done.versions}
        counts |= {"versions of prompts": done.prompts, "traces": done.traces}
        said = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "Nothing new"
        lines = [f"{said} copied to {self.to}." if said != "Nothing new" else f"Nothing new for {self.to}."]
        if done.running:
            lines.append(f"{done.running} runs are not over: sync again when they are, and the rest follows.")
        if done.unfinished_models:
            lines.append(f"{done.unfinished_models} logged models are not finished: they follow when they are.")
        if done.deleted:
            lines.append(f"{len(done.deleted)} runs were deleted there, and stay here: {', '.join(done.deleted[:3])}")
        lines += [f"Not taken there: {each}" for each in done.refused]
        if self.pruned:
            lines.append(f"{self.pruned} runs that are copied were removed here.")
        if self.missing:
            told = f"{len(self.missing)} copies are not there any more, and what they were made from stays here"
            lines.append(f"{told}: {', '.join(self.missing[:3])}")
        return lines


def sync_offline(
    to: str | None = None,
    *,
    dry_run: bool = False,
    prune: bool = False,
    agreed: Callable[[str], bool] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Synced:
    """Copy what was tracked offline; what was copied already is not copied again.

    Args:
        to: The tracking URI of the store. Default: that which the runs are meant for.
        dry_run: Copy nothing; count.
        prune: Remove from the offline store what is copied completely.
        agreed: Asks somebody whether the runs may go to another store than they were meant for.
        say: Tells how far it is.

    Returns:
        What was done.

    Raises:
        TrackingError: If the store is not known or cannot be reached, or fails; what was copied until then stays, and
            nothing is lost.
    """
    if not is_there():
        return Synced(dry_run=dry_run)
    with offline.reaching_out():
        source = apart(offline.uri(), offline.uri()).client
        with explained(source.tracking_uri):
            experiments = list(paged(source.search_experiments))
        uri, registry = choose_target(_with_runs(source, experiments), to, agreed)
        report = Synced(without_credentials(uri), dry_run)
        if dry_run:
            report.waiting, report.copied.before = _counted(source, experiments, without_credentials(uri))
            return report
        with embedded.without_chatter("mlflow.store.db.utils"):
            # Else MLflow looks for one in the environment; it knows better of Databricks.
            target = apart(uri, registry or (None if uri.startswith("databricks") else uri)).client
        with explained(uri), embedded.without_chatter("mlflow.store.model_registry.abstract_store"):
            ends = Ends(source, target, _tracing_client(uri), registry_apart=registry is not None)
            report.copied = copy(ends, experiments, Memory.read().ids.get(ends.to), say, looks=prune)
            settle(source, experiments, ends.to)
            report.waiting = report.copied.runs + report.copied.running
            if prune:
                report.pruned, report.missing = prune_copied(ends, [one.experiment_id for one in experiments])
    return report


def _with_runs(source: MlflowClient, experiments: list[Experiment]) -> list[Experiment]:
    return [one for one in experiments if has_content(source, one.experiment_id)]


def _counted(source: MlflowClient, experiments: list[Experiment], to: str) -> tuple[int, int]:
    """Count the runs that are to be copied, and those that are there already; the store itself is not asked."""
    copied = [is_copied(source, run, to) for one in experiments for run in all_of(source, one.experiment_id)]
    return len(copied) - sum(copied), sum(copied)


def _tracing_client(uri: str) -> TracingClient:
    from mlflow.tracing.client import TracingClient

    return TracingClient(uri)
