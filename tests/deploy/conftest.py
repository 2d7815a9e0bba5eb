"""A project with flows and the deployments that they declare, and the commands about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import DeploymentResponse
from tests.ends.conftest import environment

from flowml.cli import app

__all__ = ["environment"]

FLOWS = '''
"""Flows of a test."""

import sys
from datetime import date, datetime
from pathlib import Path

from flowml import Cron, Deployment, Interval, flow, task


@task
def length(name: str) -> int:
    return len(name)


@flow(name="{flow}")
def greeting(name: str = "Ada", times: int = 1, fails: bool = False, logical_date: datetime | None = None) -> int:
    if fails or (logical_date and Path(f"bad-{{logical_date:%Y-%m-%d}}").exists()):
        raise RuntimeError("as it was asked to")
    return length(name) * times


often = Deployment(greeting, "often", schedule=Interval("5s"), parameters={{"name": "Grace"}}, tags=["demo"])
nightly = Deployment(greeting, "nightly", schedule=Cron("0 2 * * *", timezone="Europe/Berlin"), work_pool="{pool}")


@flow(name="{flow}-of-rows")
def needy(rows: int) -> int:
    return rows
'''


@pytest.fixture
def own(project: Path) -> str:
    """A name that no other test uses: Prefect's server is the session's."""
    return f"greeting-{project.name}".replace("_", "-").lower()


@pytest.fixture
def flows(project: Path, own: str) -> Path:
    """A project whose folder of flows holds one file."""
    (project / "flows").mkdir()
    file = project / "flows" / "greet.py"
    file.write_text(FLOWS.format(flow=own, pool=own))
    return file


@pytest.fixture
def pool(client: MlflowClient, own: str) -> str:
    """A work pool of processes."""
    with get_client(sync_client=True) as prefect:
        prefect.request("POST", "/work_pools/", json={"name": own, "type": "process"}).raise_for_status()
    return own


@pytest.fixture
def run(client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command; returns what it printed."""

    def run(*words: str) -> str:
        capsys.readouterr()
        try:
            app.app(list(words), result_action="return_value")
        except SystemExit as end:
            assert not end.code, capsys.readouterr().err  # noqa: PT017 - 0 is how a command ends well
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that cannot be done: it ends with 2, and nothing was deployed; returns what it said."""

    def refused(*words: str) -> str:
        before = deployments()
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            app.app(list(words), result_action="return_value")
        assert end.value.code == 2
        assert deployments() == before
        return capsys.readouterr().err

    return refused


def deployments() -> dict[str, Any]:
    """Return when each deployment was changed last, by its id."""
    with get_client(sync_client=True) as prefect:
        return {str(one.id): one.updated for one in prefect.read_deployments(limit=200)}


def deployed(full_name: str) -> DeploymentResponse:
    """Return a deployment as Prefect has it."""
    with get_client(sync_client=True) as prefect:
        return prefect.read_deployment_by_name(full_name)
