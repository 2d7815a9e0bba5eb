"""Flows whose runs were closed before all below them was sent, such as what a killed process left: they tell again."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flowml import records, settings
from flowml.store.backend.mlflow_state import ELSEWHERE
from flowml.store.flow_end.ending import EndedRun
from flowml.store.flow_end.losses import Losses
from flowml.store.flow_end.summary import CALLS, CallSummary, SummarizedCall, from_json, noted_in
from flowml.store.journal import journal, late, on_disk

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def ended(client: MlflowClient, run: Run) -> EndedRun | None:
    """Return what is known by now of the end of a flow's run; None of one that is open, or of another run."""
    info, tags = run.info, run.data.tags
    if tags.get("flowml.kind") != "flow" or info.status == "RUNNING":
        return None
    summarized = CallSummary(calls) if (calls := summarized_on(client, run)) else None
    root = tags.get("flowml.root_run_id", info.run_id)
    return EndedRun(
        info=records.CurrentRun(info.run_id, info.experiment_id, root, None),
        name=info.run_name,
        tags=tags,
        status=info.status,
        ended=info.end_time,
        losses=Losses(is_elsewhere=True),
        own_metrics=(),  # nobody knows them by now
        runs_around_tasks=None,
        summarized=summarized,
        told_again=tuple(summarized.records()) if summarized else (),
        subscribers=(),
        awaited=late.owners(
            on_disk.folder_of(settings.home_folder()), [info.run_id, tags.get(journal.TAG, info.run_id)]
        ),
    )


def summarized_on(client: MlflowClient, run: Run) -> list[SummarizedCall]:
    """Return the calls that a run has summed up, and those that other processes noted on it."""
    noted = [call for calls in noted_in(run.data.tags).values() for call in calls]
    folder = CALLS.rpartition("/")[0]
    if CALLS not in {file.path for file in client.list_artifacts(run.info.run_id, folder)}:
        return noted
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(client.download_artifacts(run.info.run_id, CALLS, scratch)).read_text("utf-8")
    with suppress(ValueError):  # a file of the user's own
        return [*from_json(text), *noted]
    return noted


def above(run: Run) -> str | None:
    """Return the id of the run above."""
    tags = run.data.tags
    return tags.get("mlflow.parentRunId") or tags.get(ELSEWHERE)
