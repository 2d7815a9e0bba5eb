"""Traces beside Prefect's own OpenTelemetry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL
from tests.tracing.traced import all_traces, drawn

ROOT = Path(__file__).parents[2]

PROGRAM = """
import json, sys

import mlflow
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exported, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exported))
trace.set_tracer_provider(provider)

from flowml import Track, flow, task


@mlflow.trace
def asked() -> None:
    with trace.get_tracer("mine").start_as_current_span("by hand"):
        pass


@task
def ask() -> None:
    asked()


@flow(flow_run_name="talk", track=Track(trace=sys.argv[1] == "traced"))
def chat() -> None:
    ask()


chat()
spans = exported.get_finished_spans()
names = {span.context.span_id: span.name.split("-")[0] for span in spans}
found = [[span.name.split("-")[0], names.get(span.parent and span.parent.span_id, "")] for span in spans]
print(json.dumps(sorted(found)))
"""


@pytest.mark.slow
@pytest.mark.e2e
def test_prefects_own_telemetry_is_whole(client: MlflowClient, tmp_path: Path) -> None:
    """What Prefect and the user export by OpenTelemetry is the same with a trace and without; the trace has its own."""
    program = tmp_path / "chat.py"
    program.write_text(PROGRAM)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "FLOWML_"))}
    inherited |= {"MLFLOW_DISABLE_TELEMETRY": "true", "FLOWML_TRACKING_URI": client.tracking_uri}
    inherited |= {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_LOGGING_LEVEL": "ERROR"}
    inherited |= {"PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "true"}
    inherited |= {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    told = []
    for how in ("alone", "traced"):
        command = [sys.executable, str(program), how]
        ran = subprocess.run(command, env=inherited, cwd=tmp_path, capture_output=True, timeout=100, check=False)
        assert ran.returncode == 0, ran.stderr.decode()[-3000:]
        told.append(json.loads(ran.stdout.splitlines()[-1]))
    assert told[0] == told[1]
    assert {name for name, _ in told[1]} == {"by hand", "ask", "talk"}  # the last two are Prefect's
    assert sorted(drawn(trace).split() for trace in all_traces(client)) == [["asked"], ["chat", "ask", "asked"]]
