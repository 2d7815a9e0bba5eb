"""The child runs of a flow's run, read from MLflow once for all that is told of them there."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from flowml import mlflow_limits, records
from flowml.store.backend import sql_tables
from flowml.store.backend.mlflow_state import APART
from flowml.store.backend.paging import paged
from flowml.store.flow_end import losses
from flowml.store.models.registry import versions_in
from flowml.store.usage import sums as usage
from flowml.store.usage.sums import Usage

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

    from flowml.store.flow_end.summary import CallSummary


_logger = logging.getLogger(__name__)

INPUTS = "prefect.task_inputs"
"""The tag with the ids of the runs that a task run was given results of."""

RANKS_LOST = "flowml.ranks_lost"
"""The tag that names the processes of a training that did not end as they should."""

NO_END = {"Running", "Pending", "Cancelling"}
"""The states that Prefect still has for a run whose process was killed."""

EACH = 20
"""So many calls of one task or flow are each shown by themselves; of more there is a summary."""

_OWN = "flowml."  # metrics such as how late a run was


@dataclass(frozen=True, slots=True)
class ChildRun:
    """What a flow's run has right below it: a task run, a subflow, or a run that was opened by hand.

    Attributes:
        id: The orchestrator's id; that of the run, if it was opened by hand.
        owner: The task's or flow's own name.
        name: What the call was called.
        is_flow: Whether it is a subflow.
        status: MLflow's word for how it ended.
        state: The orchestrator's.
        started: When, in milliseconds since 1970.
        seconds: How long it took; None if it has not ended.
        attempt: The number of its last attempt.
        cached: Whether its result came from a cache.
        metrics: The last value of each metric, but for those that tell of the run itself.
        inputs: The ids of the calls whose results it was given.
        models: The versions registered in it.
        run_id: Its run; None if it was summed up.
        page: Its page in the orchestrator's UI.
        by_hand: Whether the user's code opened it.
        experiment_id: Its experiment, if it is another than that of the run above.
        losses: What another process says that it lost.
        error: Why it failed: the error's type, and what it says.
        params: Its parameters, of what was called a few times.
        datasets: What it read and made.
        logged_models: The ids of the models that it logged.
        used: What it asked of language models.
        ranks_lost: Which processes that logged to it did not end as they should.
    """

    id: str
    owner: str
    name: str
    is_flow: bool
    status: str
    state: str
    started: int
    seconds: float | None
    attempt: int = 1
    cached: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    models: tuple[records.RegisteredModel, ...] = ()
    run_id: str | None = None
    page: str | None = None
    by_hand: bool = False
    experiment_id: str | None = None
    losses: tuple[str, ...] = ()
    error: tuple[str, str] = ("", "")
    params: Mapping[str, str] = field(default_factory=dict)
    datasets: tuple[DatasetInput, ...] = ()
    logged_models: tuple[str, ...] = ()
    used: Usage = field(default_factory=Usage)
    ranks_lost: str = ""


def read(client: MlflowClient, run_id: str, experiment_id: str) -> list[ChildRun]:
    """Read the runs right below a run, of each attempt, oldest first."""
    if sql_tables.serves(client):
        try:
            children = [_of(row) for row in sql_tables.below(client, run_id, experiment_id)]
            params = sql_tables.params_of(
                client, [child.run_id or "" for group in repeated(children) for child in group]
            )
            return [replace(child, params=params.get(child.run_id or "", {})) for child in children]
        except Exception as error:
            # Of the database: from MLflow's call it is known whether it may pass.
            _logger.debug("child runs could not be read from the tables", exc_info=error)
    below = f"tags.mlflow.parentRunId = '{run_id}'"
    oldest_first = ["attributes.start_time ASC"]
    search = partial(client.search_runs, [experiment_id], below, max_results=mlflow_limits.PAGE, order_by=oldest_first)
    return [_of(_row_of(run)) for run in paged(search)]


def read_apart(client: MlflowClient, tags: Mapping[str, str]) -> list[ChildRun]:
    """Read the runs below a run that are in other experiments, to which its tags lead; what was deleted is left out."""
    from mlflow.exceptions import MlflowException

    found = []
    for key, experiment_id in list(tags.items()):
        if key.startswith(APART):
            try:
                run = client.get_run(key.removeprefix(APART))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
            else:
                found.append(replace(_of(_row_of(run)), experiment_id=experiment_id))
    return found


def _row_of(run: Run) -> sql_tables.RunRow:
    info, data = run.info, run.data
    return sql_tables.RunRow(
        info.run_id,
        info.run_name,
        info.status,
        info.start_time,
        info.end_time,
        data.tags,
        data.metrics,
        data.params,
        list(run.inputs.dataset_inputs) if run.inputs else [],
        [made.model_id for made in run.outputs.model_outputs] if run.outputs else [],
    )


def _of(run: sql_tables.RunRow) -> ChildRun:
    tags = run.tags
    kind = tags.get("flowml.kind")
    its_id = tags.get(f"prefect.{kind}_run_id") if kind else None
    owner = (tags.get("prefect.task_name") or tags.get("prefect.flow_name")) if kind else None
    return ChildRun(
        id=its_id or run.run_id,
        owner=owner or run.name,
        name=run.name,
        is_flow=kind == "flow",
        by_hand=kind is None,
        losses=tuple(losses.in_tags(tags)),
        error=error_of(tags),
        status=run.status,
        state=state_of(tags, run.status),
        started=run.started,
        seconds=(run.ended - run.started) / 1000 if run.ended else None,
        attempt=int(tags.get("flowml.attempt", "1")),
        cached=tags.get("flowml.cached") == "true",
        metrics={key: value for key, value in run.metrics.items() if not key.startswith(_OWN)},
        inputs=tuple(filter(None, tags.get(INPUTS, "").split(","))),
        models=versions_in(tags),
        run_id=run.run_id,
        page=tags.get(f"prefect.{kind}_run_url") if kind else None,
        params=run.params,
        datasets=tuple(run.datasets),
        logged_models=tuple(run.models),
        used=usage.in_tags(tags),
        ranks_lost=tags.get(RANKS_LOST, ""),
    )


def state_of(tags: Mapping[str, str], status: str) -> str:
    """Return the orchestrator's word for how a run ended; MLflow's for one whose end the orchestrator never heard of.

    Args:
        tags: The run's.
        status: MLflow's word.
    """
    state = tags.get("prefect.state")
    return status.title() if state is None or state in NO_END else state


def error_of(tags: Mapping[str, str]) -> tuple[str, str]:
    """Return the type of a run's error, and what it says; of a run that others closed no type, and why they did."""
    return tags.get("flowml.error_type", ""), tags.get("flowml.error") or tags.get("flowml.closed", "")


def summed_up(call_summary: CallSummary | None) -> list[ChildRun]:
    """Return the calls that have no run."""
    children = call_summary.children() if call_summary else []
    return [
        ChildRun(
            id=child.id,
            owner=child.owner,
            name=child.name,
            is_flow=False,
            status=child.status,
            state="Completed" if child.status == "FINISHED" else child.status.title(),
            started=0,
            seconds=child.seconds,
            metrics=child.metrics,
            inputs=tuple(child.inputs),
            attempt=child.attempt,
        )
        for child in children
    ]


def last_attempts(children: Iterable[ChildRun]) -> list[ChildRun]:
    """Return each call once, as its last attempt ended, in the order in which the first ones began."""
    found: dict[str, ChildRun] = {}
    for child in children:
        before = found.get(child.id)
        if before is None or child.attempt >= before.attempt:
            found[child.id] = replace(child, started=before.started) if before else child
    return list(found.values())


def repeated(children: Iterable[ChildRun]) -> list[list[ChildRun]]:
    """Return the runs of each task or flow that was called several times, but not too often to show each call."""
    groups: defaultdict[tuple[str, bool], list[ChildRun]] = defaultdict(list)
    for child in children:
        if child.run_id and not child.by_hand:
            groups[child.owner, child.is_flow].append(child)
    return [group for group in groups.values() if 1 < len({child.id for child in group}) <= EACH]
