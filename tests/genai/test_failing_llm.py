"""A language model's server that is down, slow, or talks nonsense: Prefect tries again; the trace has each attempt."""

from __future__ import annotations

import mlflow
import openai
from mlflow import MlflowClient
from tests.genai.llm_server import Answer, LlmServer
from tests.runs import flow_run

from flowml import Track, flow, task


def test_each_attempt_is_in_the_trace_and_what_was_answered_counts_once(client: MlflowClient, llm: LlmServer) -> None:
    """Nobody there, an error, too slow, malformed, then a stream: five attempts, and the tokens of one answer."""
    mlflow.openai.autolog()
    llm.plan.extend([Answer(status=500), Answer(seconds=3), Answer(body=b"{no JSON"), Answer("a b", input=7)])
    addresses = iter(["http://127.0.0.1:9/v1"])  # where nobody listens

    @task(retries=4)
    def ask() -> str:
        address = next(addresses, llm.url)
        with openai.OpenAI(base_url=address, api_key="none", max_retries=0, timeout=1) as http:
            said = http.chat.completions.create(
                model="small",
                messages=[{"role": "user", "content": "Well?"}],
                stream=len(llm.requests) == 3,
                **({"stream_options": {"include_usage": True}} if len(llm.requests) == 3 else {}),
            )
            if len(llm.requests) < 4:
                return str(said.choices[0].message.content)
            return "".join(part.choices[0].delta.content or "" for part in said if part.choices)

    @flow(track=Track(trace=True))
    def support() -> str:
        return ask()

    try:
        assert support() == "a b"
    finally:
        mlflow.openai.autolog(disable=True)
    run = flow_run(client)
    assert (run.data.metrics["tokens_input"], run.data.metrics["tokens_output"]) == (7, 2)
    (trace,) = client.search_traces(locations=[run.info.experiment_id])
    attempts = [span for span in trace.data.spans if span.name == "ask"]
    assert [span.status.status_code for span in attempts] == ["ERROR"] * 4 + ["OK"]
    calls = [span for span in trace.data.spans if span.name not in {"ask", "support"}]
    assert {span.parent_id for span in calls} == {span.span_id for span in attempts}
