"""Waits for a person's answer: the flow is suspended where Prefect can start it again, else it waits in its process."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Coroutine, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.events.actions import ResumeFlowRun
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.flow_runs import apause_flow_run, asuspend_flow_run
from prefect.logging import get_run_logger
from pydantic import ValidationError

from flowml import formats
from flowml.capture.links.telling import tell
from flowml.events import vocabulary
from flowml.events.vocabulary import Event

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

    from flowml.registry.forms import ReleaseForm

PREFIX = "flowml-approval-"
"""What the keys begin with under which Prefect keeps what is asked of a flow run."""

_FOR_EVER = 10 * 365 * 24 * 3600  # seconds; our own clock ends the wait, for Prefect's fails the flow
_POLL = 2  # seconds between two looks whether a flow that waits in its process was resumed
_LATE = 0.05  # seconds after the end of the time, so that it is over by any clock
_LOOK = 1.0  # seconds between two looks whether it goes on
_AGAIN = 1.0  # seconds until it is resumed again, where it still waits
_SHORTEST = 10.0  # seconds: Prefect's automations know no shorter time
_GOES_ON = {
    f"prefect.flow-run.{state}"
    for state in ("Scheduled", "Resuming", "Running", "Cancelling", "Cancelled", "Completed", "Failed", "Crashed")
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, as Prefect keeps it with the flow run from the first time on.

    Attributes:
        slug: Tells it from other questions of the same flow run.
        model: The registered model's name.
        version: The version that is to be approved.
        asked: When, in milliseconds since 1970.
        until: When it is too late, likewise; None for never.
        evidence: The digest of the gate's evidence that was shown; None if there was none.
        required: The fields that an answer must have.
    """

    slug: str
    model: str
    version: str
    asked: int
    until: int | None
    evidence: str | None
    required: tuple[str, ...]

    def kept(self, flow_run_id: UUID) -> Question:
        """Keep it with the flow run, or return what was kept there when it was first asked."""
        with get_client(sync_client=True) as client:
            for each in asked_in(client, flow_run_id):
                if each.slug == self.slug:
                    return each
            client.create_flow_run_input(flow_run_id, f"{PREFIX}{self.slug}", json.dumps(asdict(self)))
        return self

    def seconds_left(self) -> float:
        """Return how long it may still be answered."""
        return math.inf if self.until is None else (self.until - formats.now()) / 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        given: The fields; None if the flow was resumed without an answer.
        at: When, in milliseconds since 1970.
    """

    given: dict[str, Any] | None
    at: int


def asked_in(client: SyncPrefectClient, flow_run_id: UUID) -> list[Question]:
    """Return what was asked in a flow run."""
    found = client.filter_flow_run_input(flow_run_id, PREFIX, limit=200, exclude_keys=set())
    told = [json.loads(each.value) for each in found]
    return [Question(**{**each, "required": tuple(each["required"])}) for each in told]


def wait(flow_run: FlowRun, question: Question, form: type[ReleaseForm], number: int) -> Answer:
    """Wait for an answer, or give the one that came already.

    Args:
        flow_run: The flow run that asks.
        question: What it asks.
        form: The form that is shown.
        number: How often this was asked before.

    Returns:
        The answer.

    Raises:
        Pause: If the flow leaves its process; its code runs again from the top when somebody answers.
        RuntimeError: If Prefect does not let it wait.
    """
    key = f"{question.slug}-{number}"
    suspends = can_suspend(flow_run)
    response = f"{'suspended' if suspends else 'paused'}-{key}-response"
    clock = _Automation(flow_run, question, key) if suspends and question.until is not None else None
    answer = _answer(flow_run.id, response)
    if answer is None and question.seconds_left() > 0:
        _tell_asked(flow_run, question, key)
        with suppress(ValidationError):  # the answer is read below, and judged by whoever asked
            if suspends:
                if clock is not None:
                    clock.begin()
                _run_apart(asuspend_flow_run(wait_for_input=form, key=key))
            else:
                with _resumed_in_time(flow_run.id, question, key):
                    _run_apart(apause_flow_run(wait_for_input=form, timeout=_FOR_EVER, poll_interval=_POLL, key=key))
        answer = _answer(flow_run.id, response)
    if clock is not None:
        clock.cancel()
    return answer or Answer(None, formats.now())


def _run_apart(pause: Coroutine[Any, Any, Any]) -> None:
    """Wait in a thread of its own, where no event loop runs, also for an async flow; who stops the flow stops it."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(pause)
    ended: futures.Future[None] = futures.Future()

    def run() -> None:
        try:
            ended.set_result(loop.run_until_complete(task))
        except BaseException as error:  # noqa: BLE001 - whoever waits has it
            ended.set_exception(error)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    threading.Thread(target=copy_context().run, args=[run], name="flowml-approval", daemon=True).start()
    try:
        # Looks now and then: with Polars, which MLflow imports, Ctrl-C interrupts no wait that has no end.
        while not futures.wait({ended}, _LOOK).done:
            pass
        ended.result(0)
    finally:
        if not ended.done():
            loop.call_soon_threadsafe(task.cancel)


def _tell_asked(flow_run: FlowRun, question: Question, key: str) -> None:
    about = {vocabulary.ID: vocabulary.model(question.model), vocabulary.NAME: question.model}
    version = {"model": question.model, "version": question.version}
    told = {**version, "model_uri": f"models:/{question.model}/{question.version}", "until": question.until}
    about |= {vocabulary.VERSION: question.version}
    tell(Event(vocabulary.APPROVAL_ASKED, about, told, same=f"{flow_run.id} {key}"))


def can_suspend(flow_run: FlowRun) -> bool:
    """Tell whether Prefect can start it again: it can a deployment's, and none that another flow run waits for."""
    return flow_run.deployment_id is not None and flow_run.parent_task_run_id is None


def _answer(flow_run_id: UUID, key: str) -> Answer | None:
    with get_client(sync_client=True) as client:
        found = client.filter_flow_run_input(flow_run_id, key, limit=1, exclude_keys=set())
    if not found:
        return None
    created = found[0].created
    return Answer(json.loads(found[0].value), round(created.timestamp() * 1000) if created else formats.now())


class _Automation:
    """Prefect's own clock: it resumes a suspended flow when the time is up, though no process waits."""

    def __init__(self, flow_run: FlowRun, question: Question, key: str) -> None:
        self._question = question
        self._name = f"flowml: time for {key} of {flow_run.id}"
        trigger = EventTrigger(
            after={"prefect.flow-run.Suspended"},
            expect=_GOES_ON,
            match={"prefect.resource.id": f"prefect.flow-run.{flow_run.id}"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=max(_SHORTEST, question.seconds_left())),
        )
        about = f"Resumes {flow_run.name} when nobody has answered in time. It is deleted when the flow goes on."
        self._made = AutomationCore(name=self._name, description=about, trigger=trigger, actions=[ResumeFlowRun()])

    def begin(self) -> None:
        """Begin, unless it has begun in an earlier process."""
        try:
            with get_client(sync_client=True) as client:
                if not client.read_automations_by_name(self._name):
                    client.create_automation(self._made)
        except Exception as error:  # noqa: BLE001 - of Prefect, httpx, the network
            get_run_logger().warning(
                "flowml: Prefect takes no automation that ends the wait for %s/%s: %s. It ends when somebody resumes "
                "the flow run; an answer that comes too late does not count.",
                self._question.model,
                self._question.version,
                error,
            )

    def cancel(self) -> None:
        """Take it away."""
        with suppress(Exception), get_client(sync_client=True) as client:  # it does nothing any more
            for found in client.read_automations_by_name(self._name):
                client.delete_automation(found.id)


@contextmanager
def _resumed_in_time(flow_run_id: UUID, question: Question, key: str) -> Iterator[None]:
    """Have a flow that waits in its process resumed when the time is up, again and again until it goes on.

    It may be about to wait, or Prefect not answer, at that very moment.
    """
    goes_on = threading.Event()

    def run() -> None:
        pause = question.seconds_left() + _LATE
        while not goes_on.wait(pause):
            with suppress(Exception):  # of Prefect, httpx, the network
                _resume(flow_run_id, key)
            pause = _AGAIN

    if question.until is not None:
        threading.Thread(target=copy_context().run, args=[run], name="flowml-approval-time", daemon=True).start()
    try:
        yield
    finally:
        goes_on.set()


def _resume(flow_run_id: UUID, key: str) -> None:
    """Let a flow go on without an answer, if it still waits for this one."""
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(flow_run_id).state
        if state and state.is_paused() and state.state_details.pause_key == key:
            client.resume_flow_run(flow_run_id)
