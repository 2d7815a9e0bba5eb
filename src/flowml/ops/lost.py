"""Attempts of which MLflow has nothing: their process told Prefect of them, and was killed before it told MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowml.ops.runs import Runs
from flowml.ops.states import FLOW_RUN, TASK_RUN, Prefect, State, is_id
from flowml.ops.verdict import ENDS

if TYPE_CHECKING:
    from mlflow.entities import Run

_KEPT = ("prefect.", "mlflow.user", "mlflow.source.", "mlflow.parentRunId", "flowml.kind", "flowml.root_run_id")
_WHY = "its process was killed before it sent this attempt; Prefect says {}"


def add_last_attempts(runs: Runs, prefect: Prefect, flow: Run, at: str) -> None:
    """Add a small closed run for the last attempt at each task run whose earlier one would be the last word in MLflow.

    Args:
        runs: MLflow's runs.
        prefect: Prefect's API.
        flow: The run of a flow whose process was killed.
        at: Now, as the tag ``flowml.closed_at`` tells it.

    Raises:
        OrchestrationError: If Prefect's API cannot be reached.
    """
    last: dict[str, Run] = {}
    for run in runs.search(f"tags.`{FLOW_RUN}` = '{flow.data.tags[FLOW_RUN]}'"):
        task_run = run.data.tags.get(TASK_RUN, "")
        if "flowml.kind" in run.data.tags and is_id(task_run):
            last[task_run] = max(last.get(task_run, run), run, key=_attempt)
    for task_run, state in prefect.task_runs(last).items():
        if state.type in ENDS and state.ended and state.attempt > _attempt(last[task_run]):
            _add(runs, last[task_run], state, at)


def _add(runs: Runs, earlier: Run, state: State, at: str) -> None:
    tags = {key: value for key, value in earlier.data.tags.items() if key.startswith(_KEPT)}
    tags |= {
        "prefect.state": state.name,
        "flowml.attempt": str(state.attempt),
        "flowml.previous_run_id": earlier.info.run_id,
        "flowml.closed": _WHY.format(state.name),
        "flowml.closed_at": at,
    }
    ended = state.ended or state.since
    started = min(earlier.info.end_time or ended, ended)
    added = runs.add(earlier.info.experiment_id, earlier.info.run_name, started, tags)
    runs.close(added, ENDS[state.type], ended, {})
    runs.tag(earlier.info.run_id, {"flowml.superseded": "true", "flowml.next_run_id": added})


def _attempt(run: Run) -> int:
    told = run.data.tags.get("flowml.attempt", "")
    return int(told) if told.isdecimal() else 1
