"""What Prefect says of flow runs and task runs, asked for many at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from flowml.ops.prefect_api import PAGE, batched, explained, flow_runs, reached

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, TaskRun

FLOW_RUN, TASK_RUN = "prefect.flow_run_id", "prefect.task_run_id"  # the tags that hold the ids


@dataclass(frozen=True, slots=True)
class State:
    """What Prefect says of one flow run or task run.

    Attributes:
        type: Its state's type, such as COMPLETED or RUNNING.
        name: Its state's name, such as Completed or TimedOut.
        since: When it entered that state, in milliseconds since 1970.
        ended: When it ended; None if it did not.
        attempt: Which attempt Prefect is at.
        is_deployed: Whether it is a flow run of a deployment: one that a worker starts, in a process of its own.
    """

    type: str
    name: str
    since: int
    ended: int | None
    attempt: int
    is_deployed: bool


class Prefect:
    """Prefect's API, asked in batches.

    Args:
        client: A client of it.
    """

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client

    def flow_runs(self, ids: Iterable[str]) -> dict[str, State]:
        """Return the states of flow runs by id; those that do not exist are left out.

        Raises:
            OrchestrationError: If the API cannot be reached.
        """
        found = flow_runs(self._client, map(UUID, ids))
        return {str(run.id): _state(run, is_deployed=run.deployment_id is not None) for run in found}

    def task_runs(self, ids: Iterable[str]) -> dict[str, State]:
        """Return the states of task runs by id; those that do not exist are left out.

        Raises:
            OrchestrationError: If the API cannot be reached.
        """
        from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterId

        found: list[TaskRun] = []
        for some in batched(ids, PAGE):
            chosen = TaskRunFilter(id=TaskRunFilterId(any_=[UUID(one) for one in some]))
            with explained():
                found += self._client.read_task_runs(task_run_filter=chosen, limit=PAGE)
        return {str(run.id): _state(run, is_deployed=False) for run in found}

    def last_end_of_a_task(self) -> int:
        """Return when the task run ended that ended last, of all that are known, in milliseconds since 1970; or 0.

        Raises:
            OrchestrationError: If the API cannot be reached.
        """
        from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterState, TaskRunFilterStateType
        from prefect.client.schemas.objects import TERMINAL_STATES
        from prefect.client.schemas.sorting import TaskRunSort

        ended = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=list(TERMINAL_STATES))))
        with explained():
            found = self._client.read_task_runs(task_run_filter=ended, sort=TaskRunSort.END_TIME_DESC, limit=1)
        return _milliseconds(found[0].end_time) if found and found[0].end_time else 0

    def is_in_background(self, task_run_id: str) -> bool:
        """Tell whether a task run was left to a task worker (``.delay()``): it does not end with its flow run.

        Raises:
            OrchestrationError: If the API cannot be reached.
        """
        with explained():
            states = self._client.read_task_run_states(UUID(task_run_id))
        return any(state.state_details.deferred for state in states)


@contextmanager
def connected() -> Iterator[Prefect]:
    """Reach Prefect's API, to be asked in batches.

    Raises:
        OrchestrationError: If it cannot be reached.
    """
    with reached() as client:
        yield Prefect(client)


def is_id(text: str) -> bool:
    """Tell whether a text can be an id of Prefect's."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _state(run: FlowRun | TaskRun, *, is_deployed: bool) -> State:
    state = run.state
    since = _milliseconds(state.timestamp) if state else 0
    ended = (_milliseconds(run.end_time) if run.end_time else since) if state and state.is_final() else None
    return State(
        type=state.type.value if state else "PENDING",
        name=str(state.name) if state else "Pending",
        since=since,
        ended=ended,
        attempt=run.run_count,
        is_deployed=is_deployed,
    )


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
