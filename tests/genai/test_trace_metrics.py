"""What the traces of an experiment tell together."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import mlflow
import openai
import pytest
from mlflow import MlflowClient
from tests.genai.llm_server import Answer, LlmServer

from flowml import EvaluationError, flow, task, trace_metrics


def test_volume_time_errors_tokens_and_cost(
    client: MlflowClient, llm: LlmServer, ask: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All traces of a flow count, those of the time that is asked for; an answer that an agent sums up counts once."""
    monkeypatch.setenv("FLOWML_PRICES", '{"gpt-4o-mini": {"input": 1, "output": 2}}')
    mlflow.openai.autolog()
    llm.plan.extend([Answer(input=100, output=10), Answer(input=200, output=20), Answer(status=500)])

    @mlflow.trace(span_type="AGENT")
    def agent(text: str) -> str:
        said = ask.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": text}])
        return said.choices[0].message.content or ""

    @task
    def answer(number: int) -> str:
        return agent(f"What is {number}?")

    @flow
    def support() -> None:
        for number in range(3):
            answer(number, return_state=True)

    try:
        support(return_state=True)
    finally:
        mlflow.openai.autolog(disable=True)
    found = trace_metrics("support")
    assert (found["traces"], found["errors"]) == (3, 1)
    assert (found["tokens_input"], found["tokens_output"]) == (300, 30)
    assert found["cost_usd"] == pytest.approx(300e-6 + 60e-6)
    assert 0 < found["milliseconds.p50"] <= found["milliseconds.p99"]
    assert trace_metrics("support", limit=1)["traces"] == 1
    assert trace_metrics("support", since=datetime.now(timezone.utc) + timedelta(hours=1)) == {"traces": 0, "errors": 0}
    with pytest.raises(EvaluationError, match=r"no experiment 'suport'. Did you mean 'support'"):
        trace_metrics("suport")
