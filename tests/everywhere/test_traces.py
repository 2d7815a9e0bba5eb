"""Each way to run a task in a traced flow: one trace, and each span below that of the call that it was made in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import mlflow
import pytest
from mlflow.entities import Span, SpanStatusCode, Trace

from flowml import settings
from tests.everywhere.probe import Depth, Job
from tests.everywhere.stores import Caller, Store, Tree
from tests.everywhere.ways import WAYS, Way

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings(
        "ignore:Logger 'prefect.task_runs' attempted to send logs"
    ),  # Prefect's, in user's threads
]

SLOW = [pytest.mark.slow, pytest.mark.timeout(300)]
QUICK = {"direct", "gathered"}


def rows() -> list[object]:
    """Return each way, and some to a server; few of them quick."""
    sqlite = [
        pytest.param("sqlite", way, id=way.name, marks=[] if way.name in QUICK else SLOW)
        for way in WAYS
        if way.name != "mapped"
    ]
    http = [
        pytest.param("http", way, id=f"{way.name}-http", marks=SLOW)
        for way in WAYS
        if way.name in {"direct", "submitted", "process_pool", "deployed_in_task"}
    ]
    return [*sqlite, *http]


@pytest.mark.parametrize("store, way", rows(), indirect=["store"])
def test_each_span_is_where_it_belongs(
    request: pytest.FixtureRequest, store: Store, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flow run is one trace on its run; every call in it, and what that traces, is below its caller's span."""
    for fixture in way.needs:
        request.getfixturevalue(fixture)
    monkeypatch.setenv("FLOWML_TRACE", "true")
    settings.reload()
    way.run(way.jobs)
    mlflow.flush_trace_async_logging()
    (trace,) = traces(store)
    assert drawn(trace) == "\n".join(lines(way.tree(way.jobs)))
    assert {span.status.status_code for span in trace.data.spans} == {SpanStatusCode.OK}
    runs = {run.info.run_id: run for run in store.runs()}
    root = runs[trace.info.trace_metadata["mlflow.sourceRun"]]
    assert root.data.tags["flowml.root_run_id"] == root.info.run_id
    assert root.data.tags["flowml.trace_id"] == trace.info.trace_id
    assert trace.info.experiment_id == root.info.experiment_id
    assert str(trace.info.state) == "OK"
    for span in trace.data.spans:
        if span.span_type in {"WORKFLOW", "TASK"}:
            tags = runs[str(span.get_attribute("flowml.run_id"))].data.tags
            assert (tags["flowml.trace_id"], tags["flowml.span_id"]) == (trace.info.trace_id, span.span_id)


def traces(store: Store) -> Sequence[Trace]:
    """Return the traces of all experiments that are of runs of this test, or of none."""
    experiments = [experiment.experiment_id for experiment in store.client.search_experiments()]
    found = store.client.search_traces(locations=experiments, max_results=500)
    return [trace for trace in found if trace.info.trace_metadata.get("mlflow.sourceRun") not in store.known]


def drawn(trace: Trace) -> str:
    """Draw a trace as an indented tree; what is below a span that is not there stands at the left."""
    known = {span.span_id for span in trace.data.spans}

    def draw(parent: str | None, depth: int) -> list[str]:
        below = [span for span in trace.data.spans if (span.parent_id if span.parent_id in known else None) == parent]
        return sorted("\n".join(["  " * depth + label(span), *draw(span.span_id, depth + 1)]) for span in below)

    return "\n".join(draw(None, 0))


def label(span: Span) -> str:
    """Name a span as `lines` does."""
    number = (span.inputs or {}).get("number")
    return f"{span.name} {number}" if number is not None else str(span.name)


def lines(tree: Tree, depth: int = 0) -> Iterator[str]:
    """Draw what is expected."""
    indent = "  " * depth
    if isinstance(tree, Job):
        yield f"{indent}probe {tree.number}"
        if tree.depth >= Depth.FULL:
            yield f"{indent}  square {tree.number}"
        return
    assert isinstance(tree, Caller)
    yield indent + tree.name
    yield from sorted("\n".join(lines(below, depth + 1)) for below in tree.called)
