"""A flow that is told to stop by SIGTERM, as by the orchestrator that started ``flowml run``: it is cancelled then."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from flowml import formats
from flowml.store import dag_run
from flowml.store.backend.connection import connect
from flowml.store.backend.failures import explained

if TYPE_CHECKING:
    from mlflow.entities import Run

CANCELLED = "Cancelled"
_WHY = "The program that ran the flow was told to stop (SIGTERM)."


class Stopped(BaseException):
    """The process was told to stop."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` when the process is told to stop while the body of the ``with`` works.

    Prefect's engine hears the signal first where a flow is running: it ends the flow, and passes the signal on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are heard in the main thread alone
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: Any) -> NoReturn:  # noqa: ARG001 - what a handler is given
    raise Stopped


def cancel(flow_run_id: str | None, run: Run | None) -> Run | None:
    """Say in both that a flow was cancelled: Prefect's engine takes the signal for a crash.

    Args:
        flow_run_id: The flow run in Prefect.
        run: Its run in MLflow.

    Returns:
        The run as it is then.
    """
    flow_run_id = flow_run_id or (run.data.tags.get("prefect.flow_run_id") if run else None)
    try:
        if flow_run_id:
            _tell_prefect(UUID(flow_run_id))
        return _tell_mlflow(run) if run else None
    except Exception as error:  # noqa: BLE001 - it is over either way; that one of them says so otherwise is to be seen
        sys.stderr.write(f"flowml: the flow was stopped, and not everything could be told so: {error}\n")
        return run


def _tell_prefect(flow_run_id: UUID) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(flow_run_id).state
        if state is None or state.is_crashed() or not state.is_final():
            client.set_flow_run_state(flow_run_id, Cancelled(message=_WHY), force=True)


def _tell_mlflow(run: Run) -> Run:
    if run.info.status == "FINISHED":
        return run
    connection = connect()
    with explained(connection.uri):
        client, run_id = connection.client, run.info.run_id
        client.set_tag(run_id, "prefect.state", CANCELLED)
        client.set_terminated(run_id, status="KILLED", end_time=run.info.end_time or formats.now())
        if dag_run.has_one(run.data.tags):
            dag_run.tell_end(client, run_id, run.data.tags)
        return client.get_run(run_id)
