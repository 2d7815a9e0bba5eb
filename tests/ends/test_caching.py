"""A result that came from a cache: a small closed run that leads to the one which made it."""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.cache_policies import INPUTS
from prefect.task_runners import ProcessPoolTaskRunner

from flowml import flow, task
from tests.ends.caching import WAYS, double, doubles, kept
from tests.ends.processes import ROOT
from tests.runs import parent_of, run_of, runs_of

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("results")]


def hits_of(client: MlflowClient) -> list[Run]:
    """Return the runs whose results came from the cache."""
    return [run for run in runs_of(client, "double") if run.data.tags.get("flowml.cached") == "true"]


def maker_of(client: MlflowClient) -> Run:
    """Return the one run that made the result."""
    (made,) = [run for run in runs_of(client, "double") if "flowml.cached" not in run.data.tags]
    return made


def leads_to(hit: Run, made: Run) -> bool:
    """Tell whether a hit is closed, has nothing of its own, and leads to the run that made its result."""
    own = (hit.data.params, hit.data.metrics, hit.inputs.dataset_inputs, hit.outputs and hit.outputs.model_outputs)
    assert not any(own), own
    assert (hit.info.status, hit.data.tags["prefect.state"]) == ("FINISHED", "Cached")
    assert "flowml.cached_from_missing" not in hit.data.tags
    return bool(hit.data.tags.get("flowml.cached_from") == made.info.run_id)


@pytest.mark.parametrize("way", WAYS)
def test_a_hit_in_the_same_flow_run(client: MlflowClient, way: str) -> None:
    """However the key is made, each hit leads to the maker, and the flow's run counts them."""
    doubles(way, times=3)
    made, hits = maker_of(client), hits_of(client)
    assert made.data.metrics == {"doubled": 8}
    assert [leads_to(hit, made) for hit in hits] == [True, True]
    whole = run_of(client, "doubles")
    assert {parent_of(run) for run in [made, *hits]} == {whole.info.run_id}
    assert whole.data.metrics == {"double.cached": 2, "double.doubled": 8}


@pytest.mark.parametrize("way", [way for way in WAYS if way not in {"DEFAULT", "RUN_ID"}])
def test_a_hit_in_another_flow_run(client: MlflowClient, way: str) -> None:
    """A hit in another flow run is that one's, and leads to the maker in the first."""
    doubles(way, times=1)
    doubles(way, times=1)
    (hit,) = hits_of(client)
    assert leads_to(hit, maker_of(client))
    first, second = runs_of(client, "doubles")
    assert (parent_of(maker_of(client)), parent_of(hit)) == (first.info.run_id, second.info.run_id)
    assert (first.data.metrics, second.data.metrics) == ({"double.doubled": 8}, {"double.cached": 1})


@pytest.mark.parametrize("way", ["DEFAULT", "RUN_ID"])
def test_another_flow_run_has_keys_of_its_own(client: MlflowClient, way: str) -> None:
    """What is kept for one flow run alone is no hit in the next."""
    doubles(way, times=1)
    doubles(way, times=1)
    assert hits_of(client) == []
    assert [run.data.metrics for run in runs_of(client, "doubles")] == [{"double.doubled": 8}] * 2


@flow
def submits() -> None:
    """Submit it."""
    for _ in range(3):
        kept("INPUTS").submit(4).wait()


@flow
def maps() -> None:
    """Map it, after it was made."""
    kept("INPUTS")(4)
    kept("INPUTS").map([4, 4]).wait()


@task(name="double", cache_policy=INPUTS)
async def double_async(number: int) -> dict[str, int]:
    """Double on the event loop."""
    return double(number)


@flow
async def awaits() -> None:
    """Await it."""
    for _ in range(3):
        await double_async(4)


@pytest.mark.parametrize("how", [submits, maps, awaits], ids=lambda how: how.name)
def test_a_hit_however_the_task_is_called(client: MlflowClient, how: Any) -> None:
    """Submitted, mapped and awaited tasks that hit lead to the maker too."""
    done = how()
    if asyncio.iscoroutine(done):
        asyncio.run(done)
    assert [leads_to(hit, maker_of(client)) for hit in hits_of(client)] == [True, True]
    assert run_of(client, how.name).data.metrics == {"double.cached": 2, "double.doubled": 8}


@pytest.mark.slow
def test_a_hit_in_a_pool_of_processes(client: MlflowClient) -> None:
    """Made in one process of a pool and found in another, or the same: it leads to the maker."""
    submits.with_options(task_runner=ProcessPoolTaskRunner(max_workers=2))()
    assert [leads_to(hit, maker_of(client)) for hit in hits_of(client)] == [True, True]
    assert run_of(client, "submits").data.metrics == {"double.cached": 2, "double.doubled": 8}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["INPUTS", "TASK_SOURCE", "result_storage_key"])
def test_a_hit_after_a_restart(client: MlflowClient, environment: Mapping[str, str], way: str) -> None:
    """Another process, later, finds the result, and the run that made it."""
    for _ in range(2):
        program = [sys.executable, "-m", "tests.ends.caching", way, "1"]
        subprocess.run(program, env=environment, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (hit,) = hits_of(client)
    assert leads_to(hit, maker_of(client))
    assert [run.data.metrics for run in runs_of(client, "doubles")] == [{"double.doubled": 8}, {"double.cached": 1}]


def test_a_hit_whose_maker_was_deleted(client: MlflowClient) -> None:
    """The hit still has the maker's id, and says that it was deleted."""
    doubles("INPUTS", times=1)
    made = maker_of(client)
    client.delete_run(made.info.run_id)
    doubles("INPUTS", times=1)
    (hit,) = hits_of(client)
    assert hit.data.tags["flowml.cached_from"] == made.info.run_id
    assert hit.data.tags["flowml.cached_from_missing"] == "the run that made this result was deleted"


def test_a_hit_of_what_another_mlflow_has(client: MlflowClient, project: Path, flowml_empty_store: Path) -> None:
    """Where the run that made the result is in another MLflow, the hit says that there is none in this one."""
    doubles("INPUTS", times=1)
    shutil.copy(flowml_empty_store, project / "another.db")
    mlflow.set_tracking_uri(f"sqlite:///{project}/another.db")
    doubles("INPUTS", times=1)
    (hit,) = hits_of(MlflowClient(f"sqlite:///{project}/another.db"))
    assert hit.info.status == "FINISHED"
    assert "flowml.cached_from" not in hit.data.tags
    assert hit.data.tags["flowml.cached_from_missing"] == "no run that made this result is in this MLflow"


def test_what_has_expired_is_made_again(client: MlflowClient) -> None:
    """A result that is too old is no hit: its task has a whole run."""
    old = kept("INPUTS").with_options(cache_expiration=dt.timedelta(microseconds=1))

    @flow
    def expires() -> None:
        old(4)
        old(4)

    expires()
    assert hits_of(client) == []
    assert [run.data.metrics for run in runs_of(client, "double")] == [{"doubled": 8}] * 2


def test_what_is_refreshed_is_made_again(client: MlflowClient) -> None:
    """``refresh_cache`` makes the result again, and later hits lead to the run that made it last."""
    doubles("INPUTS", times=1)

    @flow
    def refreshes() -> None:
        kept("INPUTS").with_options(refresh_cache=True)(4)
        kept("INPUTS")(4)

    refreshes()
    (hit,) = hits_of(client)
    _, last = [run for run in runs_of(client, "double") if "flowml.cached" not in run.data.tags]
    assert leads_to(hit, last)
