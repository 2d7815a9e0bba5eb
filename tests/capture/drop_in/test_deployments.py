"""Deployments: what Prefect's API is told of a flow, and how it finds it again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import prefect
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.flows import load_flow_from_entrypoint
from prefect.runner.storage import LocalStorage
from prefect.settings import PREFECT_API_URL
from tests.capture.drop_in.sides import ID
from tests.runs import runs_of

import flowml

ROOT = Path(__file__).parents[3]
LIBRARIES = {"prefect": prefect, "flowml": flowml}
SOURCE = '''"""A flow to deploy."""
from {library} import flow, task

@task
def double(x: int) -> int:
    return 2 * x

@flow(name="deployed", description="Said", version="1.5")
def deployed(x: int = 2, word: str = "w") -> int:
    """Double."""
    return double(x)

@flow(version="1")
async def waiting(x: int) -> int:
    return x

class Model:
    @flow(version="1")
    @staticmethod
    def static(x: int) -> int:
        return x

if __name__ == "__main__":
    deployed.serve(name="nightly", tags=["served"], cron="0 0 1 1 *", parameters={{"x": 5}}, limit=3)
'''


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    """The same file of flows for each library, in a folder of its own."""
    folders = {"prefect": tmp_path / "one", "flowml": tmp_path / "two"}
    for library, folder in folders.items():
        folder.mkdir()
        (folder / "flows.py").write_text(SOURCE.format(library=library))
    return folders


def without_ids(value: Any, folder: Path) -> Any:
    """Leave out what differs each time: times, ids, the folder."""
    if isinstance(value, dict):
        left_out = {"created", "updated", "version_id", "version_info", "last_polled", "status"}
        return {key: without_ids(item, folder) for key, item in value.items() if key not in left_out}
    if isinstance(value, list | tuple):
        return [without_ids(item, folder) for item in value]
    return re.sub(ID, "<id>", value.replace(str(folder), "<folder>")) if isinstance(value, str) else value


def known_deployment() -> dict[str, Any]:
    """Return all that Prefect's API knows of the deployment, and delete it."""
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name("deployed/nightly")
        client.delete_deployment(found.id)
        return found.model_dump(mode="json")


def same_for_both(seen: Callable[[str, Path], Any], written: dict[str, Path]) -> Any:
    """Fail if what is seen with flowml differs from what is seen with Prefect; return that."""
    both = {library: without_ids(seen(library, folder), folder) for library, folder in written.items()}
    assert both["flowml"] == both["prefect"]
    return both["prefect"]


def test_flows_are_found_as_prefects(written: dict[str, Path], client: MlflowClient) -> None:
    """By path, entrypoint and storage; sync, async and static; with what the loaded flow says of itself."""

    def loaded(library: str, folder: Path) -> Any:
        flow = LIBRARIES[library].flow
        kind = LIBRARIES[library].Flow
        found = [
            flow.from_source(str(folder), "flows.py:deployed"),
            kind.from_source(folder, "flows.py:waiting"),
            flow.from_source(source=LocalStorage(str(folder)), entrypoint="flows.py:Model.static"),
            load_flow_from_entrypoint(f"{folder}/flows.py:deployed"),
        ]
        assert all(type(one) is kind for one in found)
        assert found[0]() == 4
        names = ("name", "version", "description", "_entrypoint", "isasync", "parameters", "_storage")
        return [{name: str(getattr(one, name)) for name in names} for one in found]

    assert len(same_for_both(loaded, written)) == 4
    assert len(runs_of(client, "deployed")) == 1


def test_to_deployment_describes_the_same(written: dict[str, Path], client: MlflowClient) -> None:
    """Schedules, parameters, tags, concurrency, storage, entrypoint and parameter schema."""
    given = [
        {"name": "plain"},
        {"name": "cron", "cron": "0 5 * * *", "parameters": {"x": 1}, "tags": ["t"], "paused": True},
        {"name": "often", "interval": 60, "description": "d", "version": "9", "concurrency_limit": 2},
        {
            "name": "rule",
            "rrule": "FREQ=DAILY;COUNT=2",
            "enforce_parameter_schema": False,
            "entrypoint_type": "module_path",
        },
        {"name": "pooled", "work_pool_name": "pool", "work_queue_name": "q", "job_variables": {"env": {"A": "1"}}},
    ]

    def described(library: str, folder: Path) -> Any:
        from prefect.deployments.runner import EntrypointType

        told = []
        for options in given:
            flow = LIBRARIES[library].flow.from_source(str(folder), "flows.py:deployed")
            made = flow.to_deployment(
                **{
                    **options,
                    **({"entrypoint_type": EntrypointType.MODULE_PATH} if "entrypoint_type" in options else {}),
                }
            )
            told.append(made.model_dump(mode="json", exclude={"storage", "schedules"}))
            told[-1]["schedules"] = [
                schedule.model_dump(exclude={"schedule": {"anchor_date"}}) for schedule in made.schedules or []
            ]
        return told

    told = same_for_both(described, written)
    assert told[0]["entrypoint"] == "flows.py:deployed"


def test_deploy_registers_the_same(written: dict[str, Path], client: MlflowClient, capsys: Any) -> None:
    """A flow of a local folder, deployed to a work pool, is known to Prefect's API in the same words."""
    with get_client(sync_client=True) as api, suppress(ObjectAlreadyExists):
        api.create_work_pool(WorkPoolCreate(name="drop-in", type="process"))

    def deployed(library: str, folder: Path) -> Any:
        flow = LIBRARIES[library].flow.from_source(str(folder), "flows.py:deployed")
        made = flow.deploy("nightly", work_pool_name="drop-in", parameters={"x": 3}, tags=["a"], cron="0 0 * * *")
        assert isinstance(made, UUID)
        return known_deployment(), capsys.readouterr().out

    known, printed = same_for_both(deployed, written)
    assert known["entrypoint"] == "flows.py:deployed"
    assert "deployed/nightly" in printed


@contextmanager
def serving(folder: Path, library: str) -> Iterator[Path]:
    """Serve the file's flow in a child process, until the API knows it; then end it."""
    out = folder / "served.txt"
    environment = {
        **os.environ,
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PYTHONPATH": str(ROOT / "src"),
        "COLUMNS": "200",
    }
    with out.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "flows.py"], cwd=folder, env=environment, stdout=output, stderr=output
        )
    end = time.monotonic() + 100
    try:
        while "Run your flow" not in out.read_text() and "prefect deployment run" not in out.read_text():
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"not served: {out.read_text()[-3000:]}")
            time.sleep(0.1)
        yield out
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.e2e
@pytest.mark.slow
def test_serve_registers_the_same(written: dict[str, Path], client: MlflowClient) -> None:
    """``flow.serve`` in a process of its own registers the same deployment and prints the same."""

    def served(library: str, folder: Path) -> Any:
        with serving(folder, library) as out:
            return known_deployment(), out.read_text()

    known, printed = same_for_both(served, written)
    assert known["parameters"] == {"x": 5}
    assert "being served" in printed
