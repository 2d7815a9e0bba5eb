"""A deployment's flow that asks for an approval: it is suspended, and goes on with the answer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.flow_runs import resume_flow_run
from tests.ends.conftest import environment
from tests.ends.processes import child, start, state_of, until
from tests.runs import runs_of

from flowml.registry import evidence
from flowml.registry.evidence import Result, Verdict
from flowml.store.ledger import Decision, Ledger, broken

__all__ = ["environment"]

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def served(
    project: Path, client: MlflowClient, versions: Any, environment: Mapping[str, str]
) -> Iterator[Callable[..., Any]]:
    """Serve the flow, with two versions of churn, and return what starts it and waits until it is suspended."""
    versions("churn", 2)

    def begin(version: int, **parameters: Any) -> Any:
        run = start("releases/asks", version=version, folder=str(project), **parameters)
        suspended(run.id)
        return run

    with child("-m", "tests.registry.served", log=project / "serve.log", environment=environment):
        yield begin


def suspended(flow_run_id: Any, number: int = 0) -> dict[str, Any]:
    """Wait until a flow run is suspended with its question, and return the form's schema and the text above it."""

    def asked() -> Any:
        state = state_of(flow_run_id)
        key = state.state_details.pause_key or ""
        return state.name == "Suspended" and key.endswith(f"-{number}") and state.state_details.run_input_keyset

    keys = until(asked, "the flow is suspended", 90)
    with get_client(sync_client=True) as prefect:
        until(lambda: prefect.filter_flow_run_input(flow_run_id, keys["description"], 1, set()), "it has its text")
        return {
            name: json.loads(prefect.read_flow_run_input(flow_run_id, keys[name])) for name in ("schema", "description")
        }


def ended(flow_run_id: Any) -> str:
    """Wait until a flow run has ended, and return how."""
    until(lambda: state_of(flow_run_id).is_final(), "the flow run has ended", 120)
    return str(state_of(flow_run_id).name)


def command(*words: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Type a command."""
    return subprocess.run(
        [sys.executable, "-m", "flowml", *words], env=environment, capture_output=True, text=True, check=False
    )


def approvals(client: MlflowClient) -> list[Decision]:
    """Return the decisions in the ledger, whose chain must hold."""
    entries = Ledger(client, "churn").entries()
    assert list(broken(entries)) == []
    return [entry.decision for entry in entries if entry.decision.kind == "approval"]


def gated(client: MlflowClient) -> str:
    """Keep a gate's verdict on version 1 as the gate does, and return the digest of its evidence."""
    result = Result('AtLeast("auc<x>", 0.8)', "auc<x>", None, 9, 0.9, None, None, None, None, "passed", "0.9 is enough")
    verdict = Verdict(True, (result,), "churn", "1", None, "there is none", 9)
    text, digest = evidence.written(verdict, {})
    run_id = client.create_run("0").info.run_id
    client.log_text(run_id, text, evidence.FILE)
    facts = {"passed": True, "evidence": digest}
    Ledger(client, "churn").append(Decision(kind="gate", version="1", who="ada", run_id=run_id, facts=facts))
    return digest


def automations() -> list[str]:
    """Return the names of Prefect's automations of approvals."""
    with get_client(sync_client=True) as prefect:
        return [each.name for each in prefect.read_automations() if each.name.startswith("flowml: time for")]


def test_it_is_approved_and_refused_by_the_command(client, served, environment, project):
    """The command answers by name and by id; the decision is asked once, kept once, and shown what the gate said."""
    digest = gated(client)
    run = served(1)
    shown = suspended(run.id)["description"]
    assert "May version 1 of churn be released?" in shown
    assert "It is better on recall." in shown
    assert digest[:12] in shown
    assert re.search(r'AtLeast\("auc[^<&]x[^>&]", 0.8\)', shown)  # what looks like markup is written otherwise
    assert f"/runs/flow-run/{run.id}" in shown
    assert [each.info.status for each in runs_of(client, "releases")] == ["RUNNING"]
    done = command("approve", run.name, "--why", "checked", "--who", "ada", environment=environment)
    assert (done.returncode, done.stdout) == (0, f"Approved churn/1; {run.name} goes on.\n"), done.stderr
    assert ended(run.id) == "Completed"
    (decision,) = approvals(client)
    facts = dict(decision.facts)
    assert (decision.version, decision.who, decision.why) == ("1", "ada", "checked")
    assert (decision.flow_run_id, facts["approved"], facts["evidence"]) == (str(run.id), True, digest)
    (decided,) = runs_of(client, "approve")
    assert decided.info.run_id == decision.run_id
    assert decided.data.tags["prefect.task_run_id"] == facts["task_run"]
    assert decided.data.tags["flowml.outcome"] == "approved"
    assert (project / "began").read_text() == "xx"
    twice = command("approve", str(run.id), "--why", "again", environment=environment)
    assert twice.returncode == 2
    assert "does not wait for an answer: it is Completed. It was answered before" in twice.stderr

    other = served(2)
    done = command("approve", str(other.id), "--reject", "--why", "too slow", "--who", "bob", environment=environment)
    assert done.stdout == f"Refused churn/2; {other.name} goes on.\n", done.stderr
    assert ended(other.id) == "Completed"
    refusal = approvals(client)[1]
    assert (refusal.who, refusal.why, refusal.facts["approved"], refusal.facts["outcome"]) == (
        *("bob", "too slow"),
        *(False, "refused"),
    )


def test_an_answer_that_does_not_fit_is_asked_for_again(client, served, environment, project):
    """Prefect's server accepts what only the form can judge: the flow asks again, says why, and then goes on."""
    run = served(1, form="Ticketed")
    missing = command("approve", run.name, "--why", "checked", environment=environment)
    assert "asks for ticket too. Add --field ticket=…." in missing.stderr
    wrong = command("approve", run.name, "--why", "checked", "--field", "tickte=REL-1", environment=environment)
    assert "has no field 'tickte' (did you mean 'ticket'?)" in wrong.stderr
    answer = {"approve": True, "why": "checked", "who": "ada", "ticket": "X-1"}
    resume_flow_run(run.id, run_input=answer)
    again = suspended(run.id, 1)["description"]
    assert "ticket: is no ticket of ours" in again
    resume_flow_run(run.id)
    assert "it was resumed without an answer" in suspended(run.id, 2)["description"]
    resume_flow_run(run.id, run_input={**answer, "ticket": "REL-1"})
    assert ended(run.id) == "Completed"
    (decision,) = approvals(client)
    assert (decision.who, decision.facts["answer"]) == ("ada", {"ticket": "REL-1"})
    assert (project / "began").read_text() == "xxxx"


def test_when_the_time_is_up_the_flow_goes_on(client, served):
    """Nobody answers: Prefect resumes the flow, which is told, and its automation is gone."""
    run = served(1, timeout=10)
    assert len(automations()) == 1
    assert ended(run.id) == "Completed"
    (decision,) = approvals(client)
    assert (decision.who, decision.facts["outcome"], decision.facts["approved"]) == ("nobody", "timed out", False)
    assert decision.why.startswith("Nobody answered in ")
    assert automations() == []
