"""The machine is sampled while a task works, where that is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from mlflow import MlflowClient

import flowml
from flowml import Skip, Track, flow, task
from tests.runs import all_runs, flow_run, run_of, runs_of

SAMPLED = {"cpu_utilization_percentage", "system_memory_usage_megabytes", "disk_usage_percentage"}
SAMPLED |= {"network_receive_megabytes", "peak_memory_megabytes"}
THREAD = "flowml-system-metrics"


@task(track=Track(system_metrics=True))
def work(do: Annotated[Callable[[], Any] | None, Skip()] = None) -> None:
    """Do what a test wants."""
    if do:
        do()


@flow
def call(do: Annotated[Callable[[], Any] | None, Skip()] = None) -> None:
    """Work."""
    work(do)


def test_a_task_is_sampled_and_the_note_tells_its_peak(client: MlflowClient) -> None:
    """A task that is over at once has a sample of its end; its peak is on the flow's run, and in its note."""
    call()
    found = run_of(client, "work").data.metrics
    assert {f"system/{name}" for name in SAMPLED} <= found.keys()
    peak = found["system/peak_memory_megabytes"]
    assert peak > 50
    flows = flow_run(client)
    assert {name: value for name, value in flows.data.metrics.items() if "system" in name} == {
        "system/peak_memory_megabytes": peak
    }
    assert f"Most at a time: memory {peak:,.0f}" in flows.data.tags["mlflow.note.content"].replace(
        "\N{NO-BREAK SPACE}", " "
    )
    assert THREAD not in {each.name for each in threading.enumerate()}


def test_a_long_task_is_sampled_again_and_again(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of MLflow's intervals gives a sample, while the task works; the peak is the most that was held."""
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")

    def until_sampled() -> None:
        held = bytearray(300_000_000)  # is in the peak
        run_id = flowml.current_run().run_id
        for _ in range(200):
            flowml.flush()
            if len(client.get_metric_history(run_id, "system/cpu_utilization_percentage")) > 2:
                break
            threading.Event().wait(0.05)
        del held

    call(until_sampled)
    run = run_of(client, "work")
    steps = [each.step for each in client.get_metric_history(run.info.run_id, "system/cpu_utilization_percentage")]
    assert steps == list(range(len(steps)))
    assert len(steps) > 3
    assert run.data.metrics["system/peak_memory_megabytes"] > 300


def test_the_setting_samples_tasks_and_track_says_otherwise(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting is for tasks, each of which may leave it; a flow is sampled where it says so itself."""
    monkeypatch.setenv("FLOWML_SYSTEM_METRICS", "true")

    @flow
    def both() -> None:
        work.with_options(track=Track(), name="sampled")()
        work.with_options(track=Track(system_metrics=False), name="not sampled")()

    both()
    sampled = {
        name
        for name in ("sampled", "not sampled")
        if any("system/" in key for key in run_of(client, name).data.metrics)
    }
    assert sampled == {"sampled"}
    assert "system/cpu_utilization_percentage" not in run_of(client, "both").data.metrics


def test_the_flow_has_the_highest_peak_of_its_tasks(client: MlflowClient) -> None:
    """Of several tasks the flow's run has the most that one of them held."""

    @flow
    def several() -> None:
        for _ in range(2):
            work()

    several()
    peaks = [run.data.metrics["system/peak_memory_megabytes"] for run in runs_of(client, "work")]
    assert flow_run(client).data.metrics["system/peak_memory_megabytes"] == max(peaks)


def test_a_flow_is_sampled_where_it_says_so(client: MlflowClient) -> None:
    """A flow's own run may be sampled too, and what fails is sampled to its end."""

    @flow(track=Track(system_metrics=True))
    def failing() -> None:
        raise ValueError("no data")

    with pytest.raises(ValueError, match="no data"):
        failing()
    (run,) = all_runs(client)
    assert "system/peak_memory_megabytes" in run.data.metrics
    assert THREAD not in {each.name for each in threading.enumerate()}
