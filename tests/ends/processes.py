"""Processes of a test's own, and waiting for what happens in them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound

from tests.runs import all_runs

ROOT = Path(__file__).parents[2]


def until(happened: Callable[[], Any], what: str, seconds: float = 120, *, every: float = 0.2) -> Any:
    """Ask until it has happened; return what was answered."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = happened()
        if answer:
            return answer
        time.sleep(every)
    return pytest.fail(f"not within {seconds} s: {what}")


@contextmanager
def child(
    *arguments: str, log: Path, environment: Mapping[str, str], folder: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python in a process of its own, in a group of its own, which is ended at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def start(deployment: str, **parameters: Any) -> FlowRun:
    """Start a run of a deployment, once a process serves it."""

    def served() -> Any:
        with get_client(sync_client=True) as prefect, suppress(ObjectNotFound):
            return prefect.read_deployment_by_name(deployment)

    found = until(served, "the deployment is there")
    with get_client(sync_client=True) as prefect:
        return prefect.create_flow_run_from_deployment(found.id, parameters=parameters)


def state_of(flow_run_id: UUID) -> Any:
    """Return the state that Prefect's API has."""
    with get_client(sync_client=True) as prefect:
        return prefect.read_flow_run(flow_run_id).state


def open_runs(client: MlflowClient) -> list[str]:
    """Return the names of the runs that are open."""
    return [run.info.run_name for run in all_runs(client) if run.info.status == "RUNNING"]


def flow_of(client: MlflowClient) -> Any:
    """Return the flow's run."""
    (found,) = [run for run in all_runs(client) if run.data.tags["flowml.kind"] == "flow"]
    return found
