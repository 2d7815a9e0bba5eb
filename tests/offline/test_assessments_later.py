"""What people and judges say of a trace is said of its copy, also what they take back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Assessment, AssessmentSource, Metric, TraceInfo
from tests.ops.conftest import Said

Flowml = Callable[..., Said]

ADA = AssessmentSource("HUMAN", "ada")
MARK = "flowml.copied_from"


@contextmanager
def speaking(client: MlflowClient) -> Iterator[str]:
    """Let MLflow's functions mean a store; gives the id of its trace."""
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        yield the_trace(client).trace_id
    finally:
        mlflow.set_tracking_uri(None)


def the_trace(client: MlflowClient) -> TraceInfo:
    """Return the one trace of a store."""
    (experiment,) = [one.experiment_id for one in client.search_experiments() if one.name == "small"]
    (trace,) = client.search_traces(locations=[experiment])
    return trace.info


def said_of(client: MlflowClient) -> dict[str, dict[str, Any]]:
    """Return what is said of the trace, by ids, without the marks of copies."""
    found = {one.assessment_id: one.to_dictionary() for one in the_trace(client).assessments}
    for one in found.values():
        metadata = {key: value for key, value in one.pop("metadata", {}).items() if key != MARK}
        one["metadata"] = metadata
        if "expectation" in one:
            one.pop("valid", None)  # a server says it of feedback alone
    return found


def by_name(client: MlflowClient) -> dict[str, list[Assessment]]:
    """Return what is said of the trace by the names, the earliest first."""
    found: dict[str, list[Assessment]] = {}
    for one in sorted(the_trace(client).assessments, key=lambda each: each.create_time_ms or 0):
        found.setdefault(one.name, []).append(one)
    return found


def synced(flowml: Flowml, to: MlflowClient, *more: str) -> str:
    """Copy to a store; return what was said."""
    said = flowml("sync", "--to", to.tracking_uri, *more)
    assert said.code == 0, said.err
    return said.out


@pytest.mark.parametrize("is_copied_first", [True, False])
def test_what_is_overridden(source: MlflowClient, to: MlflowClient, flowml: Flowml, *, is_copied_first: bool) -> None:
    """It is overridden there, twice over, and what overrides it leads to it."""
    with speaking(source) as trace_id:
        first = mlflow.log_feedback(trace_id=trace_id, name="good", value=True, source=ADA, rationale="fluent")
        mlflow.log_expectation(trace_id=trace_id, name="expected", value={"a": [1, 2]}, source=ADA)
    if is_copied_first:
        synced(flowml, to)
        assert said_of(to) == said_of(source)
    with speaking(source) as trace_id:
        second = mlflow.override_feedback(trace_id=trace_id, assessment_id=first.assessment_id, value=False, source=ADA)
        mlflow.override_feedback(trace_id=trace_id, assessment_id=second.assessment_id, value=True, source=ADA)
    synced(flowml, to)
    assert said_of(to) == said_of(source)
    assert sorted(one.valid or False for one in by_name(to)["good"]) == [False, False, True]
    source.set_trace_tag(trace_id, "seen", "yes")  # the trace is copied anew, and nothing is valid again by that
    synced(flowml, to)
    assert said_of(to) == said_of(source)


def test_what_is_changed_and_taken_back(source: MlflowClient, to: MlflowClient, flowml: Flowml) -> None:
    """It has the new value there, or is not there; what a deleted one overrode is valid again."""
    with speaking(source) as trace_id:
        good, gone, changed = (
            mlflow.log_feedback(trace_id=trace_id, name=name, value=True, source=ADA, metadata={"round": "1"})
            for name in ("good", "gone", "changed")
        )
        better = mlflow.override_feedback(trace_id=trace_id, assessment_id=good.assessment_id, value=False, source=ADA)
    synced(flowml, to)
    with speaking(source) as trace_id:
        for one in (gone, better):
            mlflow.delete_assessment(trace_id=trace_id, assessment_id=one.assessment_id)
        mlflow.update_assessment(trace_id, changed.assessment_id, mlflow.entities.Feedback("changed", value="fair"))
    synced(flowml, to)
    assert said_of(to) == said_of(source)
    assert [one.valid for one in by_name(to)["good"]] == [True]


def test_what_is_said_there(source: MlflowClient, to: MlflowClient, flowml: Flowml) -> None:
    """What people say in the other store stays, and overrides what it overrode; also where all is taken back here."""
    with speaking(source) as trace_id:
        here = mlflow.log_feedback(trace_id=trace_id, name="good", value=True, source=ADA)
        gone = mlflow.log_feedback(trace_id=trace_id, name="gone", value=True, source=ADA)
    synced(flowml, to)
    with speaking(to) as trace_id:
        mlflow.override_feedback(trace_id=trace_id, assessment_id=here.assessment_id, value=False, source=ADA)
        mlflow.log_feedback(trace_id=trace_id, name="of the team", value=3, source=ADA)
    with speaking(source) as trace_id:
        mlflow.delete_assessment(trace_id=trace_id, assessment_id=gone.assessment_id)
        mlflow.update_assessment(trace_id, here.assessment_id, mlflow.entities.Feedback("good", value="rather"))
    synced(flowml, to)
    there = {name: [(one.value, one.valid) for one in said] for name, said in by_name(to).items()}  # type: ignore[attr-defined]
    assert there == {"good": [("rather", False), (False, True)], "of the team": [(3, True)]}
    with speaking(source) as trace_id:
        mlflow.delete_assessment(trace_id=trace_id, assessment_id=here.assessment_id)
    synced(flowml, to)
    assert {name: len(said) for name, said in by_name(to).items()} == {"good": 1, "of the team": 1}


def test_an_overrider_of_what_is_gone(source: MlflowClient, to: MlflowClient, flowml: Flowml) -> None:
    """It is copied as it is, though what it overrode was deleted before anything was copied."""
    with speaking(source) as trace_id:
        first = mlflow.log_feedback(trace_id=trace_id, name="good", value=True, source=ADA)
        mlflow.override_feedback(trace_id=trace_id, assessment_id=first.assessment_id, value=False, source=ADA)
        mlflow.delete_assessment(trace_id=trace_id, assessment_id=first.assessment_id)
    synced(flowml, to)
    assert said_of(to) == said_of(source)


def test_the_run_that_judged(source: MlflowClient, to: MlflowClient, flowml: Flowml) -> None:
    """An evaluation's feedback leads to the copy of the evaluation's run."""
    run_id = source.create_run("1", 1_300, run_name="judged").info.run_id
    source.log_batch(run_id, [Metric("auc", 0.7, 2_000, 0)])
    source.set_terminated(run_id)
    with speaking(source) as trace_id:
        metadata = {"mlflow.assessment.sourceRunId": run_id}
        mlflow.log_feedback(trace_id=trace_id, name="good", value=True, source=ADA, metadata=metadata)
    synced(flowml, to)
    (experiment,) = [one.experiment_id for one in to.search_experiments() if one.name == "small"]
    (copy,) = [one for one in to.search_runs([experiment]) if one.info.run_name == "judged"]
    (good,) = by_name(to)["good"]
    assert (good.metadata or {})["mlflow.assessment.sourceRunId"] == good.run_id == copy.info.run_id
