"""Reading back the traces that a test left in MLflow."""

from __future__ import annotations

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Span, Trace


def all_traces(client: MlflowClient) -> list[Trace]:
    """Return every trace of the store, the last one first."""
    mlflow.flush_trace_async_logging()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_traces(locations=experiments, max_results=500))


def the_trace(client: MlflowClient) -> Trace:
    """Return the one trace of the store."""
    (found,) = all_traces(client)
    return found


def spans(trace: Trace, name: str) -> list[Span]:
    """Return the spans of a name, in the order of their beginning."""
    return sorted((span for span in trace.data.spans if span.name == name), key=lambda span: span.start_time_ns)


def drawn(trace: Trace) -> str:
    """Draw a trace as an indented tree, in the order in which things began."""
    known = {span.span_id for span in trace.data.spans}
    in_order = sorted(trace.data.spans, key=lambda span: span.start_time_ns)

    def draw(parent: str | None, depth: int) -> list[str]:
        found = []
        for span in in_order:
            if (span.parent_id if span.parent_id in known else None) == parent:
                found += ["  " * depth + span.name, *draw(span.span_id, depth + 1)]
        return found

    return "\n".join(draw(None, 0))
