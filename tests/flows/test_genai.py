"""``flows/genai.py`` and ``flows/monitor.py``: what is served is looked after, and trained anew."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow import MlflowClient
from tests.ends.conftest import environment
from tests.ends.processes import until
from tests.genai.llm_server import Answer, LlmServer
from tests.runs import run_of, runs_of
from tests.serving.conftest import ROOT

import flowml
from flowml.ops.servers.down import down

__all__ = ["environment"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

FLOWS = ROOT / "flows"
PRICES = '{"gpt-4o-mini": {"input": 1, "output": 2}}'


def ran(project: Path, environment: Mapping[str, str], name: str) -> str:
    """Run one of the example flows to its end; return the last line that it printed."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT), str(FLOWS)])
    command, told = [sys.executable, str(FLOWS / name)], {**environment, "PYTHONPATH": paths}
    done = subprocess.run(command, cwd=project, env=told, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    return (done.stdout.strip().splitlines() or [""])[-1]


def ask(url: str, count: int, season: str, seed: int) -> float:
    """Ask about tickets, and tell the server what was right; return how often it was."""
    printed = [sys.executable, str(FLOWS / "tickets.py"), str(count), "--seed", str(seed), "--season", season]
    made = subprocess.run(printed, capture_output=True, text=True, check=True)
    lines = [line.rpartition(",") for line in made.stdout.splitlines()[1:]]
    right = 0
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
        for text, _, topic in lines:
            answer = http.post("/invocations", json={"dataframe_records": [{"text": text.strip('"')}]})
            right += answer.json()["predictions"] == [topic]
            http.post("/feedback", json={"id": answer.headers["x-request-id"], "truth": topic})
    return right / count


def answered(asked: dict[str, Any]) -> Answer:
    """Say the article's first sentence, as a model would that does as it is told."""
    text = asked["messages"][0]["content"]
    return Answer(text=text.partition("Article: ")[2].partition(". ")[0], input=50, output=10)


def check_the_trace(client: MlflowClient, requests: int) -> None:
    """The flow run is one trace: both attempts of the task that was refused once, and each call under its attempt."""
    (run,) = runs_of(client, "genai")
    assert run.data.metrics["right_article"] == 1
    assert run.data.metrics["tokens_input"] == 50 * (requests - 1)
    assert run.data.metrics["cost_usd"] == pytest.approx((requests - 1) * (50 + 2 * 10) / 1_000_000)
    spans = client.get_trace(run.data.tags["flowml.trace_id"]).data.spans
    attempts = [span for span in spans if span.name == "answer"]
    assert [span.status.status_code for span in attempts] == ["ERROR", "OK"]
    written = [span for span in spans if span.name == "write"]
    assert len(written) == requests
    assert {span.parent_id for span in written} == {span.span_id for span in attempts}


@pytest.mark.slow
def test_what_people_ask_drifts_and_the_model_follows(
    project: Path, client: MlflowClient, environment: Mapping[str, str]
) -> None:
    """The monitor finds the drift; the next training learns from what was asked since, and the server follows it."""
    try:
        with LlmServer(usual=answered) as llm:
            llm.plan.append(Answer(status=500))
            told = {**environment, "OPENAI_BASE_URL": llm.url, "OPENAI_API_KEY": "none", "FLOWML_PRICES": PRICES}
            first = ast.literal_eval(ran(project, told, "genai.py"))
        check_the_trace(client, len(llm.requests))
        assert (first["version"], first["outcome"]) == ("1", "promoted")
        before = ask(first["url"], 100, "outage", 1)
        until(lambda: len(flowml.served_requests("tickets", with_truth=True)) == 100, "all is kept", 60)
        ran(project, environment, "monitor.py")
        ran(project, environment, "genai.py")
        after = ask(first["url"], 100, "outage", 2)
    finally:
        down()
    assert before < 0.8
    assert after > 0.95
    (monitored,) = runs_of(client, "monitor")
    assert monitored.data.metrics["compare.drift.drifted"] == 1
    assert monitored.data.metrics["compare.drift.size.text"] > 0.1
    assert monitored.data.metrics["measure.v1.truth.accuracy"] == pytest.approx(before, abs=0.02)
    compared = run_of(client, "compare")
    assert {"chart.png"} <= {file.path.rpartition("/")[2] for file in client.list_artifacts(compared.info.run_id)}
    assert client.get_model_version_by_alias("tickets", "champion").run_id == runs_of(client, "register")[1].info.run_id


@pytest.mark.slow
def test_nothing_is_compared_where_nobody_asked(
    project: Path, client: MlflowClient, environment: Mapping[str, str]
) -> None:
    """Without a request since the last time there is none counted, and no drift."""
    ran(project, environment, "monitor.py")
    assert run_of(client, "monitor").data.metrics["measure.requests"] == 0
    assert runs_of(client, "compare") == []
