"""Prefect as a call's session asks and tells it: about a task run, or a flow run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.exceptions import Pause

from flowml import records, store
from flowml.capture.engine import origin
from flowml.capture.guard import Log
from flowml.capture.links import labels
from flowml.capture.links.artifacts import Links, publisher
from flowml.capture.verdict import RunWatch, run_watches


class OfTask:
    """Prefect, about one attempt at a task run.

    Args:
        run: The task run.
        attempt: The attempt's number.
        log: Where trouble is told.
    """

    __slots__ = ("_attempt", "_links", "_run")

    def __init__(self, run: TaskRun, attempt: int, log: Log) -> None:
        self._run: TaskRun | FlowRun = run
        self._attempt = attempt
        self._links = Links(run.flow_run_id, run.id, log)

    def run_watch(self) -> RunWatch | None:
        """Return where Prefect's engine gives its verdict, if one of this process has the run."""
        return run_watches.get(self._run.id)

    def failure(self, value: Any) -> BaseException | None:
        """Return the error when the user's code returned a state that Prefect takes for a failure."""
        if isinstance(value, State) and (value.is_failed() or value.is_crashed()):
            return value.data if isinstance(value.data, BaseException) else RuntimeError(value.message or value.name)
        return None

    def is_pause(self, error: BaseException) -> bool:
        """Tell whether Prefect leaves the body to pause the run."""
        return isinstance(error, Pause)

    def find_caller(self) -> records.Caller | None:
        """Return who called, by the label that Prefect brought along."""
        return labels.caller_here(self._run.id)

    def facts(self) -> list[records.Record]:
        """Have nothing more to log."""
        return []

    def question(self) -> Callable[[], list[records.Record]] | None:
        """Have nothing to ask."""
        return None

    def announce(self, caller: records.Caller | None) -> None:
        """Label the run with who is calling in it."""
        labels.note(self._run, self._attempt, caller)

    def publish(self, run: store.Run) -> None:
        """Link it in Prefect's UI."""
        self._links.link(run)

    def keep(self, run: store.Run, handed_on: Callable[[records.Caller], records.Caller]) -> None:
        """Keep nothing: nobody on another machine asks for a task's run."""

    def publish_now(self) -> AbstractContextManager[None]:
        """Write links while MLflow is waited for."""
        return publisher.publishing_now()

    def wait_until_published(self) -> None:
        """Wait for what is to be written to Prefect's API.

        Raises:
            OrchestrationError: If it does not take it in time.
        """
        self._links.wait_until_published()


class OfFlow(OfTask):
    """Prefect, about one attempt at a flow run.

    Args:
        run: The flow run.
        attempt: The attempt's number.
        log: Where trouble is told.
        name: The flow's name.
        started: When the attempt began, in milliseconds since 1970.

    Attributes:
        goes_on: Whether an attempt before it, or the run before it was suspended, has a run to go on in.
    """

    __slots__ = ("_flow_run", "_name", "_started", "goes_on")

    def __init__(self, run: FlowRun, attempt: int, log: Log, *, name: str, started: int) -> None:
        self._run = self._flow_run = run
        self._attempt = attempt
        self.goes_on = run.run_count > 1 or bool(run.total_run_time)
        self._links = Links(run.id, None, log, goes_on=self.goes_on)
        self._name, self._started = name, started

    def find_caller(self) -> records.Caller | None:
        """Return who called, by the label of the flow run or of the one that started it."""
        return labels.caller_of_flow(self._flow_run)

    def facts(self) -> list[records.Record]:
        """Return why the run is, and how late it is."""
        return origin.known(self._flow_run, self._started, goes_on=self.goes_on)

    def question(self) -> Callable[[], list[records.Record]] | None:
        """Return what asks Prefect's API by which deployment and schedule it runs."""
        return partial(origin.facts_from_api, self._flow_run, self._name) if self._flow_run.deployment_id else None

    def keep(self, run: store.Run, handed_on: Callable[[records.Caller], records.Caller]) -> None:
        """Have Prefect's API keep which run it has."""
        links, flow_run, attempt = self._links, self._flow_run, self._attempt
        store.when_known(run, lambda caller: links.keep(flow_run, attempt, handed_on(caller)))
