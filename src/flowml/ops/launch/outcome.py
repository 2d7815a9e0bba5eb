"""Tells the program that started ``flowml run`` what came of it, in a file: its result, its state, both pages."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowml.errors import FlowmlError
from flowml.ops.launch.summary import own_run
from flowml.store.backend.connection import connect
from flowml.store.flow_end import losses

if TYPE_CHECKING:
    import prefect
    from mlflow.entities import Run
    from prefect.client.schemas.objects import FlowRun, State

_PATIENCE, _EACH = 60.0, 0.5  # seconds that a flow's run in MLflow is looked for, and between two looks


class Outcome:
    """What came of a flow run. The file is whole whenever it is there: it is put in place of the one before.

    Args:
        file: Where it is written.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._said: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self.flow_run_id: str | None = None

    def told_by(self, flow: prefect.Flow[Any, Any]) -> prefect.Flow[Any, Any]:
        """Return the flow with a hook that writes which run it is, as soon as it runs: its pages can be opened."""

        def tell_where_it_runs(flow: prefect.Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
            from flowml.capture.links.urls import page_of

            if self.flow_run_id is None:  # another attempt is the same flow run
                self.flow_run_id = str(flow_run.id)
                page = page_of("flow-run", flow_run.id)
                self._write(flow=flow.name, state=state.name, flow_run_id=self.flow_run_id, prefect_url=page)
                threading.Thread(target=self._look, args=(flow.name,), name="flowml-outcome", daemon=True).start()

        return flow.with_options(on_running=[*flow.on_running_hooks, tell_where_it_runs])

    def write(self, flow: str, state: str, run: Run | None, result: Any = None, error: str | None = None) -> None:
        """Write how it ended.

        Args:
            flow: The flow's name.
            state: The name of the state that it ended in.
            run: Its run in MLflow, if that has one.
            result: What it returned.
            error: Why it failed.
        """
        self._is_over.set()
        said, problem = self._as_json(result)
        self._write(flow=flow, state=state, result=said, result_problem=problem, error=error)
        if run is None:
            return
        tags = run.data.tags
        self._write_run(run)
        self._write(
            mlflow_status=run.info.status,
            lost=list(losses.in_tags(tags)),
            flow_run_id=tags.get("prefect.flow_run_id", self.flow_run_id),
            prefect_url=tags.get("prefect.flow_run_url") or self._said.get("prefect_url"),
        )

    def _look(self, flow: str) -> None:
        """Look for the flow's run in MLflow, which is created beside the flow's code, and tell where it is."""
        until = time.monotonic() + _PATIENCE
        while not self._is_over.wait(_EACH) and time.monotonic() < until:
            with suppress(Exception):  # what there is to say of MLflow is said at the flow's end
                if run := own_run(flow):
                    return self._write_run(run)
        return None

    def _write_run(self, run: Run) -> None:
        try:
            page = connect().page_of(run.info.experiment_id, run.info.run_id)
        except FlowmlError:
            page = None  # it was there a moment ago: the flow's log tells
        parent = run.data.tags.get("mlflow.parentRunId")
        self._write(mlflow_run_id=run.info.run_id, mlflow_parent_run_id=parent, mlflow_url=page)

    @staticmethod
    def _as_json(result: Any) -> tuple[Any, str | None]:
        """Return the result if it is JSON, and else why it is not: another process has no other way to be given it."""
        try:
            return json.loads(json.dumps(result, allow_nan=False)), None
        except (TypeError, ValueError, RecursionError) as error:
            return None, f"The flow returned a {type(result).__name__}, which cannot be written as JSON: {error}"

    def _write(self, **facts: Any) -> None:
        with self._lock:
            self._said |= facts
            beside = self._file.with_name(f"{self._file.name}.{os.getpid()}")
            beside.write_text(json.dumps(self._said), "utf-8")
            beside.replace(self._file)


def error_in(run: Run | None, state: Any) -> str | None:
    """Return why a flow failed: what its run says, or else Prefect's state."""
    if run is not None and (said := run.data.tags.get("flowml.error")):
        return f"{run.data.tags.get('flowml.error_type')}: {said}"
    return str(state.message) if state is not None and not state.is_completed() and state.message else None
