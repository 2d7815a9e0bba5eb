"""A flow that asks for an approval in its own process, and what cannot be asked or answered."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.flow_runs import pause_flow_run
from prefect.settings import PREFECT_API_URL
from tests.ends.processes import until
from tests.runs import run_of, runs_of

import flowml
from flowml import Approval, RegistryError, ReleaseForm, flow, task
from flowml.registry.answering import answer
from flowml.store.ledger import Ledger

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ASKS = """
import signal
import flowml

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it

@flowml.flow
def asks():
    flowml.approve("churn", 1)

asks()
"""


@flow
def releases(version: int, timeout: float | None = None, key: str = "") -> Approval:
    """Ask for an approval."""
    return flowml.approve("churn", version, timeout=timeout, key=key)


def paused() -> dict[str, Any]:
    """Return the flow runs that are paused, by id: other tests of this server leave some."""
    asked = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])))
    with get_client(sync_client=True) as prefect:
        return {str(run.id): run for run in prefect.read_flow_runs(flow_run_filter=asked)}


def meanwhile(act: Callable[[str], Any]) -> threading.Thread:
    """Act on the id of the flow run that waits from now on, once there is one."""
    before = paused()

    def waiting() -> str:
        new = [run for name, run in paused().items() if name not in before]
        with get_client(sync_client=True) as prefect:
            return str(new[0].id) if new and prefect.filter_flow_run_input(new[0].id, "paused", 1, set()) else ""

    thread = threading.Thread(target=lambda: act(until(waiting, "a flow waits")), daemon=True)
    thread.start()
    return thread


def test_a_flow_of_no_deployment_waits_in_its_process(client, versions):
    """It goes on with the answer; the decision is in the ledger, and its task shows in both."""
    versions("churn", 1)
    thread = meanwhile(lambda run: answer(run, approve=True, why="checked", who="ada"))
    decision = releases(1)
    thread.join()
    assert (decision.approved, decision.outcome, decision.who, decision.why) == (True, "approved", "ada", "checked")
    assert decision.answer == {"approve": True, "why": "checked", "who": "ada"}
    (entry,) = Ledger(client, "churn").entries()
    assert entry.decision.run_id == run_of(client, "approve").info.run_id
    assert run_of(client, "releases").info.status == "FINISHED"


def test_an_async_flow_is_asked_the_same(client, versions):
    """A call in an async flow waits too."""
    versions("churn", 1)

    @flow
    async def releasing() -> str:
        return (await asyncio.to_thread(flowml.approve, "churn", 1)).outcome

    thread = meanwhile(lambda run: answer(run, approve=False, why="slow", who="bob"))
    assert asyncio.run(releasing()) == "refused"
    thread.join()


@pytest.mark.parametrize("timeout", [0.01, 0.2, 1.0])  # over before it waits, or as it begins to
def test_when_the_time_is_up_the_flow_goes_on(client, versions, timeout):
    """Nobody's answer is an outcome: the flow completes in both."""
    versions("churn", 1)
    decision = releases(1, timeout=timeout)
    assert (decision.approved, decision.outcome, decision.who) == (False, "timed out", "nobody")
    (run,) = runs_of(client, "releases")
    assert (run.info.status, run.data.tags["prefect.state"]) == ("FINISHED", "Completed")


@pytest.mark.parametrize("failing", ["read_flow_run", "resume_flow_run"])
def test_prefect_may_fail_when_the_time_is_up(client, versions, monkeypatch, failing):
    """A request that fails as the time ends is made again: the flow does not wait for ever."""
    versions("churn", 1)
    real, failed = getattr(SyncPrefectClient, failing), []

    def fails_once(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not threading.main_thread() and not failed:
            failed.append(failing)
            raise OSError("the connection was closed")
        return real(*args, **kwargs)

    monkeypatch.setattr(SyncPrefectClient, failing, fails_once)
    assert releases(1, timeout=2).outcome == "timed out"
    assert failed == [failing]


def test_it_is_decided_once_in_a_flow_run(client, versions):
    """A flow that is tried again finds the decision; another key asks once more."""
    versions("churn", 1)
    attempts: list[str] = []

    @flow(retries=4)  # Prefect counts each time that it was resumed
    def retried() -> list[str]:
        decisions = [flowml.approve("churn", 1, timeout=1), flowml.approve("churn", 1, timeout=1, key="second")]
        attempts.append("one")
        if len(attempts) == 1:
            raise ValueError
        return [decision.outcome for decision in decisions]

    assert retried() == ["timed out", "timed out"]
    assert [entry.decision.facts.get("key") for entry in Ledger(client, "churn").entries()] == [None, "second"]


@pytest.mark.slow
def test_ctrl_c_ends_a_flow_that_waits(client, versions, project):
    """Who runs a flow that waits in its process may end it, also where Polars is installed."""
    versions("churn", 1)
    (project / "asks.py").write_text(ASKS)
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    before = paused()
    with subprocess.Popen([sys.executable, "asks.py"], cwd=project, env=environment) as process:
        try:
            until(lambda: paused().keys() - before.keys(), "a flow waits", 60)
            process.send_signal(signal.SIGINT)
            assert process.wait(40) != 0
        finally:
            process.kill()


def test_where_nobody_can_be_asked(client, versions):
    """Outside a flow, in a task, about no version, and by another form, it says what to do."""
    versions("churn", 1)

    @task
    def in_task() -> None:
        flowml.approve("churn", 1)

    @flow
    def calling(what: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return what(*args, **kwargs)

    with pytest.raises(RegistryError, match="outside a flow"):
        flowml.approve("churn", 1)
    with pytest.raises(RegistryError, match="Call it in the flow, between its tasks"):
        calling(in_task)
    with pytest.raises(RegistryError, match="churn has no version 9"):
        releases(9)
    with pytest.raises(RegistryError, match="Write a subclass of"):
        calling(lambda: flowml.approve("churn", 1, form=dict))


def test_what_cannot_be_answered(client, versions):
    """A flow run that is not there, is over, or waits for something else, is told with what may have been meant."""
    versions("churn", 1)

    @flow
    def pauses() -> None:
        pause_flow_run(timeout=20, poll_interval=1, wait_for_input=ReleaseForm)

    releases(1, timeout=1)
    over = run_of(client, "releases").data.tags["prefect.flow_run_id"]
    said: list[str] = []

    def answered(run: str) -> str:
        with pytest.raises(RegistryError) as problem:
            answer(run, approve=True, why="checked", who="ada")
        return str(problem.value)

    def act(run: str) -> None:
        said.append(answered(run))
        with get_client(sync_client=True) as prefect:
            prefect.resume_flow_run(run, run_input={"approve": True, "why": "checked", "who": "ada"})  # type: ignore[arg-type]

    assert "There is no flow run" in answered(str(uuid4()))
    assert "There is no flow run 'nobody'" in answered("nobody")
    assert "It was answered before, or its time was up." in answered(over)
    thread = meanwhile(act)
    pauses()
    thread.join()
    assert "waits for something else than an approval" in said[0]
