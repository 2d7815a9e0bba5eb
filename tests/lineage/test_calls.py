"""What the catalogue is told of calls, however they run and end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pytest
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from tests.lineage.standard import check

from flowml import Dataset, Skip, flow, task

pytestmark = pytest.mark.usefixtures("prefect_server")


def ended(catalogue: Any, job: str) -> dict[str, Any]:
    """Return how a job ended last."""
    found: dict[str, Any] = catalogue.of(job)[-1]
    return found


def table() -> pd.DataFrame:
    """Return a small table."""
    return pd.DataFrame({"x": [1, 2], "y": ["a", "b"]})


def test_a_failure_is_told_with_its_error_and_a_retry_is_another_run(catalogue: Any) -> None:
    """A task that fails and is tried again is FAIL, then another run that is COMPLETE; its secrets are masked."""
    tries = []

    @task(retries=1)
    def flaky() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("no answer from postgresql://ada:hunter22@db/shop")
        return 1

    @flow
    def job() -> int:
        return flaky()

    job()
    assert catalogue.types("job.flaky") == ["START", "FAIL", "START", "COMPLETE"]
    first, failed, second, _ = catalogue.of("job.flaky")
    assert first["run"]["runId"] == failed["run"]["runId"] != second["run"]["runId"]
    error = failed["run"]["facets"]["errorMessage"]
    assert error["message"].startswith("ValueError: no answer")
    assert "flaky" in error["stackTrace"]
    assert "hunter22" not in str(catalogue.events)
    for event in catalogue.events:
        check(event)


def test_a_flow_that_is_tried_again_is_one_run(catalogue: Any) -> None:
    """The run of a flow begins once and ends once, with its last attempt; a failing one is FAIL."""
    tries = []

    @flow(retries=1)
    def job() -> None:
        tries.append(1)
        raise RuntimeError(len(tries))

    with pytest.raises(RuntimeError):
        job()
    assert catalogue.types("job") == ["START", "FAIL"]
    assert len({event["run"]["runId"] for event in catalogue.of("job")}) == 1


def test_a_subflow_is_below_its_flow_and_all_have_one_root(catalogue: Any) -> None:
    """A task's parent is the flow that it was called in, and the root is the outermost one."""

    @task
    def step() -> int:
        return 1

    @flow
    def inner() -> int:
        return step()

    @flow
    def outer() -> int:
        return inner()

    outer()
    parent = ended(catalogue, "inner.step")["run"]["facets"]["parent"]
    assert (parent["job"]["name"], parent["root"]["job"]["name"]) == ("inner", "outer")
    assert parent["run"]["runId"] == ended(catalogue, "inner")["run"]["runId"]
    assert parent["root"]["run"]["runId"] == ended(catalogue, "outer")["run"]["runId"]
    assert "parent" not in ended(catalogue, "outer")["run"]["facets"]


@pytest.mark.parametrize("runner", [ThreadPoolTaskRunner, ProcessPoolTaskRunner])
def test_tasks_elsewhere_are_below_their_flow(catalogue: Any, runner: Any) -> None:
    """Mapped tasks in threads or processes begin and end once each, below the flow's run."""

    @task
    def double(frame: pd.DataFrame, by: int) -> pd.DataFrame:
        return pd.concat([frame] * by)

    @flow(task_runner=runner(max_workers=2))
    def job() -> None:
        double.map([table()] * 2, [2, 3]).wait()

    job()
    runs = {event["run"]["runId"] for event in catalogue.of("job.double")}
    assert len(runs) == 2
    for run in runs:
        mine = [event for event in catalogue.events if event["run"]["runId"] == run]
        assert [event["eventType"] for event in mine] == ["START", "COMPLETE"]
        parent = mine[1]["run"]["facets"]["parent"]
        assert parent["run"]["runId"] == ended(catalogue, "job")["run"]["runId"]
        assert [each["name"] for each in mine[1]["inputs"]] == ["job.double/frame"]
        assert [each["name"] for each in mine[1]["outputs"]] == ["job.double"]


def test_a_cached_task_is_complete(catalogue: Any) -> None:
    """A task whose result comes from a cache begins and is COMPLETE."""

    @task(cache_key_fn=lambda *_: "the same", persist_result=True)
    def make() -> pd.DataFrame:
        return table()

    @flow
    def job() -> None:
        make()
        make()

    job()
    assert catalogue.types("job.make") == ["START", "COMPLETE", "START", "COMPLETE"]


def test_a_source_is_what_was_read(catalogue: Any) -> None:
    """A table with a source is named by the standard's rules: as what the task read, and with its revision."""

    @task
    def load(path: str) -> Annotated[pd.DataFrame, Dataset(source="{path}", revision="v7")]:
        return table()

    @task
    def use(orders: Annotated[pd.DataFrame, Dataset(source="postgresql://ada:pw12345@db/shop#public.orders")]) -> int:
        return len(orders)

    @flow
    def job() -> None:
        load("s3://bucket/day/1.parquet")
        use(table().head(1))

    job()
    (read,), (made,) = ended(catalogue, "job.load")["inputs"], ended(catalogue, "job.load")["outputs"]
    assert (read["namespace"], read["name"]) == ("s3://bucket", "day/1.parquet")
    assert read["facets"]["version"]["datasetVersion"] == "v7"
    assert [field["name"] for field in read["facets"]["schema"]["fields"]] == ["x", "y"]
    assert made["name"] == "job.load"
    (orders,) = ended(catalogue, "job.use")["inputs"]
    assert (orders["namespace"], orders["name"]) == ("postgres://db:5432", "shop.public.orders")
    assert "pw12345" not in str(catalogue.events)


def test_what_is_not_logged_is_not_told(catalogue: Any) -> None:
    """A value that is to be left out of MLflow is left out of the lineage."""

    @task
    def use(frame: Annotated[pd.DataFrame, Skip()], file: Annotated[Path, Skip()]) -> int:
        return len(frame)

    @flow
    def job(file: Path) -> None:
        use(table(), file)

    Path("data.csv").write_text("x\n1\n")
    job(Path("data.csv"))
    assert ended(catalogue, "job.use")["inputs"] == []
