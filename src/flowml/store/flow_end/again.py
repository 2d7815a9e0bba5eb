"""Flows whose runs were closed before all below them was sent, such as what a killed process left: they tell again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowml import records, settings
from flowml.store.backend.mlflow_state import ELSEWHERE
from flowml.store.flow_end.ending import EndedRun
from flowml.store.flow_end.losses import Losses
from flowml.store.journal import journal, late, on_disk

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def ended(client: MlflowClient, run: Run) -> EndedRun | None:
    """Return what is known by now of the end of a flow's run; None of one that is open, or of another run.

    One that sums up calls without runs tells what it told: nobody has their numbers any more.
    """
    info, tags = run.info, run.data.tags
    if tags.get("flowml.kind") != "flow" or info.status == "RUNNING" or client.list_artifacts(info.run_id, "children"):
        return None
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
        summarized=None,
        subscribers=(),
        awaited=late.owners(
            on_disk.folder_of(settings.home_folder()), [info.run_id, tags.get(journal.TAG, info.run_id)]
        ),
    )


def above(run: Run) -> str | None:
    """Return the id of the run above."""
    tags = run.data.tags
    return tags.get("mlflow.parentRunId") or tags.get(ELSEWHERE)
