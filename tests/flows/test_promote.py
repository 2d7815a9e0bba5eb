"""``flows/promote.py`` as a user serves it: approved, refused, timed out; the history and the audit tell of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from tests.ends.conftest import environment
from tests.ends.processes import child, start, state_of, until

from flowml.registry import history
from flowml.store.ledger import broken

__all__ = ["environment"]

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

FLOWS = Path(__file__).parents[2] / "flows"


@pytest.fixture
def asked(project: Path, environment: Mapping[str, str]) -> Iterator[Callable[..., Any]]:
    """Serve the flow; return what starts it and waits until it asks."""

    def begin(**parameters: Any) -> Any:
        run = start("promotion/every-week", **parameters)
        until(lambda: state_of(run.id).name in {"Suspended", "Failed", "Crashed"}, "it asks", 300)
        assert state_of(run.id).name == "Suspended", (project / "serve.log").read_text()
        return run.id

    told = {**environment, "PYTHONPATH": os.pathsep.join([str(FLOWS), environment.get("PYTHONPATH", "")])}
    command = ["-m", "flowml", "serve", str(FLOWS / "promote.py")]
    with child(*command, log=project / "serve.log", environment=told):
        yield begin


def typed(*words: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Type a command."""
    command = [sys.executable, "-m", "flowml", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def ended(flow_run_id: Any) -> str:
    """Wait until a flow run has ended, and return how."""
    until(lambda: state_of(flow_run_id).is_final(), "the flow run has ended", 300)
    return str(state_of(flow_run_id).name)


def test_it_is_approved_refused_and_timed_out(
    client: MlflowClient, asked: Callable[..., Any], environment: Mapping[str, str]
) -> None:
    """The approved version is champion with a complete chain; the refused and the late one change nothing."""
    for words in (["--why", "good", "--who", "ada"], ["--reject", "--why", "too slow"]):
        run_id = asked()
        done = typed("approve", str(run_id), *words, environment=environment)
        assert done.returncode == 0, done.stderr
        assert ended(run_id) == "Completed"
    late = asked(timeout=5.0)
    assert ended(late) == "Completed"
    entries = history.entries_of(client, "churn")
    assert list(broken(entries)) == []
    (first,) = history.moves_in(entries, "champion")
    assert (first.version, first.who, first.why, first.approved_by) == ("1", "ada", "good", ("ada",))
    outcomes = [one.decision.facts["approved"] for one in entries if one.decision.kind == "approval"]
    assert outcomes == [True, False, False]
    audit = typed("audit", "churn@champion", "--verify", "--json", environment=environment)
    told = json.loads(audit.stdout)
    assert (audit.returncode, told["complete"], told["wrong"]) == (0, True, []), audit.stdout
