"""Flows whose runs were closed before all below them was sent, such as what a killed process left: they tell again."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flowml import records, settings
from flowml.store.backend.mlflow_state import ELSEWHERE
from flowml.store.flow_end import child_runs
from flowml.store.flow_end.ending import EndedRun
from flowml.store.flow_end.losses import Losses
from flowml.store.flow_end.summary import (
    FOLDER,
    CallSummary,
    SummarizedCall,
    file_of,
    from_file,
    is_file_of_calls,
    noted_in,
)
from flowml.store.journal import journal, late, on_disk

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def ended(client: MlflowClient, run: Run) -> EndedRun | None:
    """Return what is known by now of the end of a flow's run; None of one that is open, or of another run."""
    info, tags = run.info, run.data.tags
    if tags.get("flowml.kind") != "flow" or info.status == "RUNNING":
        return None
    summarized = _summarized(client, run)
    metrics = {each.key for each in summarized.summary if isinstance(each, records.Metric)}
    root = tags.get("flowml.root_run_id", info.run_id)
    return EndedRun(
        info=records.CurrentRun(info.run_id, info.experiment_id, root, None),
        name=info.run_name,
        tags=tags,
        status=info.status,
        ended=info.end_time,
        losses=Losses(is_elsewhere=True),
        own_metrics=metrics,  # its run tells of those that it logged itself
        runs_around_tasks=None,
        summarized=summarized.calls,
        summary_again=summarized.summary if summarized.is_news else (),
        subscribers=(),
        awaited=late.owners(
            on_disk.folder_of(settings.home_folder()), [info.run_id, tags.get(journal.TAG, info.run_id)]
        ),
    )


class _Summarized(NamedTuple):
    """The calls without runs of a flow's run, and their summary.

    Attributes:
        calls: The calls; None where there are none, or nobody knows them.
        summary: What sums them up, and a file with those that no file has.
        is_news: Whether the run has another one.
    """

    calls: CallSummary | None = None
    summary: Sequence[records.Record] = ()
    is_news: bool = False


def _summarized(client: MlflowClient, run: Run) -> _Summarized:
    told = calls_in_files(client, run.info.run_id)
    if told is None:
        return _Summarized()
    summarized = CallSummary(told)
    new = [call for calls in noted_in(run.data.tags).values() for call in calls if not summarized.has(call)]
    for call in new:
        summarized.add(call)
    if not summarized.children():
        return _Summarized()
    below = child_runs.read(client, run.info.run_id, run.info.experiment_id)
    below += child_runs.read_apart(client, run.data.tags)
    has_run = {(each.id, each.attempt) for each in below}  # such as one that ended after its flow
    without = CallSummary(call for call in summarized.children() if call.key not in has_run)
    found, had = list(without.records()), run.data.metrics
    is_other = any(isinstance(each, records.Metric) and had.get(each.key) != each.value for each in found)
    if new:
        found.append(file_of(new))
    return _Summarized(summarized, found, is_other or bool(new))


def calls_in_files(client: MlflowClient, run_id: str) -> list[SummarizedCall] | None:
    """Return the calls that a run has summed up, from its files; None where it has a summary without such a file."""
    there = [file.path for file in client.list_artifacts(run_id, FOLDER)]
    files = [path for path in there if is_file_of_calls(path)]
    if there and not files:
        return None
    with tempfile.TemporaryDirectory(prefix="flowml-") as scratch:
        texts = [Path(client.download_artifacts(run_id, path, scratch)).read_text("utf-8", "replace") for path in files]
    return [call for text in texts for call in from_file(text)]


def above(run: Run) -> str | None:
    """Return the id of the run above."""
    tags = run.data.tags
    return tags.get("mlflow.parentRunId") or tags.get(ELSEWHERE)
