"""The way from Prefect's UI to MLflow's: artifacts of a flow run and of a task run, written in the background."""

from __future__ import annotations

import atexit
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import SettingsContext, get_settings_context
from prefect.settings import PREFECT_API_URL

from flowml import faults, formats, records, settings, store
from flowml.background import Publisher
from flowml.capture.guard import Guard, Log
from flowml.capture.links import labels
from flowml.capture.links import summary as report
from flowml.capture.links.client import KeptClient
from flowml.errors import OrchestrationError
from flowml.locks import RLock

FLOW, TASK, SUMMARY = "mlflow-run", "mlflow-task-run", "mlflow-summary"

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

PATIENCE = 5.0  # seconds that the end of an outermost call waits for Prefect's API
_FLOWS = 1000  # whose links are counted at a time, in a process that has only tasks of theirs

_linked: Counter[UUID | None] = Counter()  # task runs, by the flow run
_counting = RLock()
_client = KeptClient()
publisher = Publisher(idle=_client.close)

# Prefect's server takes seconds for a label while it takes in the events of many tasks: no flow's end waits for that.
_keeping_client = KeptClient()
keeper = Publisher(idle=_keeping_client.close)


@atexit.register
def _keep_at_exit() -> None:
    keeper.wait(PATIENCE)


class Links:
    """What is written of one flow or task run.

    Args:
        flow_run_id: The flow run; None for a task run without one.
        task_run_id: The task run; None if it is about the flow run itself.
        log: Where trouble is told.
        goes_on: Whether a process before may have written a link already.
    """

    def __init__(self, flow_run_id: UUID | None, task_run_id: UUID | None, log: Log, *, goes_on: bool = False) -> None:
        self._flow_run_id = flow_run_id
        self._task_run_id = task_run_id
        # Prefect's own log asks a task run without a flow for its context, which is not kept.
        self._log: Log = log if flow_run_id else logging.getLogger("prefect.flowml")
        self._goes_on = goes_on
        self._run: store.Run = store.NO_RUN
        self._summary_id: UUID | None = None
        self._settings: SettingsContext | None = None

    def link(self, run: store.Run) -> None:
        """Link a run that was just opened, as soon as it is known which it is."""
        if run is store.NO_RUN or self._is_full():
            return
        # Not the whole context, which holds Prefect's engine, nor a task's run: both hold these links, in a cycle.
        self._settings = get_settings_context()
        if not self._task_run_id:
            self._run = run
        opened = None if self._goes_on else self._opened
        store.watch_run(run, opened, None if self._task_run_id else self._ended)

    def show(self, key: str, text: str, description: str) -> None:
        """Show Markdown on the pages of the task run and of its flow run, in the background."""
        self._settings = get_settings_context()
        both = {"task_run_id": self._task_run_id, "flow_run_id": self._flow_run_id}
        of = {name: run_id for name, run_id in both.items() if run_id}

        def create(client: Any) -> None:
            self._create(client, key, text, description, of)

        self._publish(create)

    def keep(self, flow_run: FlowRun, attempt: int, caller: records.Caller) -> None:
        """Have Prefect's API keep which run a flow run has, for flows that it starts and for who closes its runs."""

        def keep() -> None:
            labels.note(flow_run, attempt, caller)
            try:
                with in_force.model_copy():
                    labels.keep(flow_run, _keeping_client.get())
            except Exception as error:  # noqa: BLE001 - of Prefect's client, also when the process ends: few ever ask for it
                faults.note(error)
                _keeping_client.close()
                self._log.debug("flowml: Prefect's API did not keep a flow run's label", exc_info=True)

        if not PREFECT_API_URL.value():
            return  # a temporary server, which nobody else asks
        in_force = self._settings or get_settings_context()
        keeper.add(keep)

    def wait_until_published(self) -> None:
        """Wait for what is to be written, if this is the outermost call of the process; tell if MLflow has not all.

        Raises:
            OrchestrationError: If Prefect's API does not take it in time.
        """
        if self._task_run_id is None and (unsent := store.unsent(self._run)):
            self._ended(unsent)
        left = publisher.wait(PATIENCE)
        if len(_linked) > _FLOWS:
            _linked.clear()
        elif self._task_run_id is None or self._flow_run_id is None:
            _linked.pop(self._flow_run_id, None)
        if left:
            msg = f"Prefect's API did not take {left} artifacts with links to MLflow within {PATIENCE:g} s."
            raise OrchestrationError(msg, api="")

    def _is_full(self) -> bool:
        """Tell whether enough task runs are linked: each link is a request, and thousands would be in the way."""
        return self._task_run_id is not None and _linked[self._flow_run_id] >= settings.current().task_links

    def _opened(self, run: records.CurrentRun) -> None:
        if not run.url:
            return
        if not self._task_run_id:
            self._log.info("flowml: in MLflow at %s", run.url)
        if self._task_run_id:
            with _counting:
                if self._is_full():
                    return
                _linked[self._flow_run_id] += 1
        self._publish(partial(self._link, run.url), later=self._task_run_id is not None)

    def _ended(self, summary: records.Summary) -> None:
        self._publish(partial(self._summarize, summary))

    def _publish(self, job: Callable[[Any], None], *, later: bool = False) -> None:
        publisher.add(partial(self._with_settings, job), later=later)

    def _with_settings(self, job: Callable[[Any], None]) -> None:
        """Do it with the Prefect settings that were in force where the run was opened."""
        if self._settings:
            with self._settings.model_copy():
                self._do(job)

    def _do(self, job: Callable[[Any], None]) -> None:
        with Guard("link Prefect's UI to MLflow's", self._log, raising=False):
            try:
                job(_client.get())
            except Exception as error:
                _client.close()
                msg = f"Prefect's API did not take what leads to MLflow: {type(error).__name__}: {error}."
                raise OrchestrationError(msg, api="") from error

    def _link(self, url: str, client: Any) -> None:
        kind = "task" if self._task_run_id else "flow"
        self._create(
            client,
            TASK if self._task_run_id else FLOW,
            formats.link("Open in MLflow", url),
            f"The {kind} run in MLflow",
        )

    def _summarize(self, summary: records.Summary, client: Any) -> None:
        text = report.write(summary, store.command(self._run), partial(store.model_page, self._run))
        if self._summary_id:
            changed = ArtifactUpdate(data=text).model_dump(mode="json", exclude_unset=True)
            client.request("PATCH", "/artifacts/{id}", path_params={"id": self._summary_id}, json=changed)
        else:
            self._summary_id = self._create(client, SUMMARY, text, "What the flow's run holds in MLflow")

    def _create(
        self, client: Any, key: str, text: str, description: str, of: Mapping[str, UUID | None] | None = None
    ) -> UUID:
        # A task run's has no flow run: that one's page would show it among its own, and they are many.
        own = {"task_run_id": self._task_run_id} if self._task_run_id else {"flow_run_id": self._flow_run_id}
        of = own if of is None else of
        made = ArtifactCreate(key=key, type="markdown", description=description, data=text, **of)
        # Not `create_artifact`: that sends an event too, and the user's automations may wait for those of his own.
        answer = client.request("POST", "/artifacts/", json=made.model_dump(mode="json", exclude_unset=True))
        return UUID(answer.json()["id"])
