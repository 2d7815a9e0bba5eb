"""The run that a DAG run of Airflow has in MLflow: the flows that its tasks run are below it, whichever came first.

Airflow tells what it starts by environment variables which DAG run that is. Several tasks may start at once, on several
machines: the run is found by a key that all of them make of the DAG's and the DAG run's ids. It is running as long as
one of its flows is, and says how they ended else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flowml import formats, settings
from flowml.store.backend.mlflow_state import APART
from flowml.store.backend.paging import paged
from flowml.store.journal.journal import TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_DAG, _DAG_RUN, _TASK, _INDEX = "airflow.dag_id", "airflow.dag_run_id", "airflow.task_id", "airflow.map_index"
_VARIABLES = {
    _DAG: "AIRFLOW_CTX_DAG_ID",
    _DAG_RUN: "AIRFLOW_CTX_DAG_RUN_ID",
    _TASK: "AIRFLOW_CTX_TASK_ID",
    "airflow.try_number": "AIRFLOW_CTX_TRY_NUMBER",
    _INDEX: "AIRFLOW_CTX_MAP_INDEX",
    "airflow.task_url": "AIRFLOW_CTX_LOG_URL",
}
_NOT_MAPPED = "-1"
_PARENT = "mlflow.parentRunId"
_PATIENCE = 10.0  # seconds for another process of this machine to create the run


@dataclass(frozen=True, slots=True)
class DagRun:
    """The DAG run that a program is part of.

    Attributes:
        dag: The DAG's id.
        tags: What tells of the task that started the program, as tags of its flow's run.
    """

    dag: str
    tags: Mapping[str, str]

    @property
    def own_tags(self) -> Mapping[str, str]:
        """The tags of the run that the DAG run has."""
        return {tag: self.tags[tag] for tag in (_DAG, _DAG_RUN)}

    @property
    def name(self) -> str:
        """What its run is called."""
        return f"{self.dag} {self.tags[_DAG_RUN]}"

    @property
    def key(self) -> str:
        """What finds its run in an experiment."""
        return _key_of(self.tags)


def of_environment() -> DagRun | None:
    """Return the DAG run that this process is part of, if Airflow started it."""
    told = {tag: settings.from_environment(name) for tag, name in _VARIABLES.items()}
    tags = {tag: value for tag, value in told.items() if value and (tag, value) != (_INDEX, _NOT_MAPPED)}
    return DagRun(tags[_DAG], tags) if {_DAG, _DAG_RUN} <= tags.keys() else None


def has_one(tags: Mapping[str, str]) -> bool:
    """Tell by the tags of a flow's run whether a task of Airflow started the flow."""
    return {_DAG, _DAG_RUN} <= tags.keys()


@contextmanager
def being_made(key: str) -> Iterator[None]:
    """Let the processes of this machine look for a run and create it one after the other."""
    from filelock import FileLock, Timeout

    home = settings.home_folder()
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(Path(home, f"dag-run-{key[:2]}.lock"), timeout=_PATIENCE)
    with suppress(Timeout):  # two may be made then, of which `only` leaves one
        lock.acquire(_PATIENCE)
    try:
        yield
    finally:
        lock.release()


def find(client: MlflowClient, experiment_id: str, key: str) -> Run | None:
    """Return the run with a key; of several the one that all agree on."""
    found = client.search_runs([experiment_id], f"tags.`{TAG}` = '{key}'", max_results=10)
    return min(found, key=_order, default=None)


def go_on(client: MlflowClient, run: Run) -> Run:
    """Let a run that was closed go on: another flow begins below it."""
    if run.info.status != "RUNNING":
        client.update_run(run.info.run_id, status="RUNNING")
    return run


def only(client: MlflowClient, made: Run) -> Run:
    """Return the run that counts, after one was made: on another machine one may have been made at the same moment."""
    first = find(client, made.info.experiment_id, made.data.tags[TAG]) or made
    if first.info.run_id != made.info.run_id:
        client.delete_run(made.info.run_id)
    return first


def tell_end(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Let the DAG run's run say how its flows ended, now that one has; nothing if another one still runs.

    Args:
        client: MLflow's client.
        run_id: The flow's run.
        tags: The tags that it was created with.
    """
    flow = client.get_run(run_id)
    above = flow.data.tags.get(_PARENT) or flow.data.tags.get("flowml.parent_run_id")
    if not above:
        return
    parent = client.get_run(above)
    if parent.data.tags.get(TAG) != _key_of(tags):
        return  # a run of the user's own, which was active
    first = find(client, parent.info.experiment_id, _key_of(tags)) or parent
    if first.info.run_id != above:
        client.set_tag(run_id, _PARENT, first.info.run_id)  # both were made at the same moment: this one goes
        client.delete_run(above)
    settle(client, first)


def settle(client: MlflowClient, parent: Run) -> None:
    """Close a DAG run's run by how its flows ended, unless one still runs; of a task the last try counts."""
    ends = {run.info.status for run in _last_tries(_flows(client, parent))}
    if not ends & {"RUNNING", "SCHEDULED"}:
        status = next((each for each in ("FAILED", "KILLED") if each in ends), "FINISHED")
        client.set_terminated(parent.info.run_id, status=status, end_time=formats.now())


def _flows(client: MlflowClient, parent: Run) -> list[Run]:
    tags = parent.data.tags
    apart = {value for tag, value in tags.items() if tag.startswith(APART)}
    mine = f"tags.`{_DAG_RUN}` = {_quoted(tags[_DAG_RUN])} and tags.`flowml.kind` = 'flow'"
    found = list(paged(partial(client.search_runs, [parent.info.experiment_id, *apart], mine)))
    return [run for run in found if run.data.tags.get(_DAG) == tags[_DAG]]


def _last_tries(flows: Iterable[Run]) -> Iterable[Run]:
    last = {
        (run.data.tags.get(_TASK), run.data.tags.get(_INDEX), run.data.tags.get("prefect.flow_name")): run
        for run in sorted(flows, key=_order)
    }
    return last.values()


def _order(run: Run) -> tuple[int, str]:
    return run.info.start_time, run.info.run_id


def _quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"


def _key_of(tags: Mapping[str, str]) -> str:
    return hashlib.sha256(f"{tags[_DAG]}\0{tags[_DAG_RUN]}".encode()).hexdigest()[:32]
