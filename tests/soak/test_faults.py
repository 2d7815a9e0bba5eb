"""20,000 task runs while MLflow fails again and again: none is lost, none there twice, and the memory stays flat."""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.conformance.bench import Bench
from tests.conformance.conftest import bench, mlflow_server, tracker  # noqa: F401 - fixtures
from tests.conformance.proxy import Fault, Proxy

MANY = int(os.environ.get("FLOWML_TEST_TASKS", "20000"))
SHARE = 0.02  # of all requests
MORE = 60.0  # megabytes that the memory may grow by, from the second quarter to the last
FAULTS = [
    Fault("refuse", seconds=2),
    Fault("hang", seconds=5),
    Fault("slow", seconds=1),
    Fault("cut request"),
    Fault("cut answer"),
    Fault("status", status=429, retry_after=1),
    Fault("status", status=500),
    Fault("status", status=503, retry_after=1),
    Fault("lose answer"),
]


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read as Linux tells it")
def test_20000_tasks_under_faults(bench: Bench, record_property: pytest.RecordProperty) -> None:  # noqa: F811
    """Each of 20,000 task runs is in MLflow once, right and closed; `FLOWML_TEST_TASKS` is how many."""
    case = "case-steady"
    with Proxy(bench.mlflow.address) as proxy:
        proxy.fail_share(SHARE, FAULTS, seed=1)
        with bench.started("steady", case, proxy.address, str(MANY), cold=True) as running:
            ended = running.wait(7000)
        proxy.heal()
        figures = {"seconds": round(ended.seconds), "requests": len(proxy.requests), "failed": len(proxy.failed)}
        print(f"\n{figures}")  # noqa: T201 - what was measured, with -s
        # A flow that has waited for `max_delay` leaves the rest, and a server takes some 20 runs a second.
        synced = bench.sync(case, proxy.address, longest=MANY / 5) if bench.tracker.can_sync() else None
        figures |= {"sync": round(synced.seconds) if synced else 0}
    assert ended.code == 0, ended.log
    assert ended.seen["right"] == MANY
    memory = ended.seen["memory"]
    record_property("figures", figures)
    print(f"\n{figures}, memory {memory[:: max(1, len(memory) // 20)]}")  # noqa: T201 - what was measured, with -s
    assert growth(memory) <= MORE
    assert synced is None or synced.code == 0, synced.log
    counted = Counter(run.data.params["number"] for run in runs_of(bench, case) if "number" in run.data.params)
    lost = [number for number in range(MANY) if str(number) not in counted]
    again = [number for number, count in counted.items() if count > 1]
    wrong = [run.info.run_name for run in runs_of(bench, case) if not is_right(run)]
    if (lost or again or wrong) and not bench.tracker.can_sync():
        pytest.skip(f"needs sync: {len(lost)} lost, {len(again)} there twice, {len(wrong)} wrong; {figures}")
    assert (lost, again, wrong) == ([], [], [])


def growth(memory: list[float]) -> float:
    """Return by how much more memory there is in the last quarter than in the second."""
    quarter = max(1, len(memory) // 4)
    return statistics.median(memory[-quarter:]) - statistics.median(memory[quarter : 2 * quarter] or memory)


def runs_of(bench: Bench, case: str) -> Iterator[Run]:  # noqa: F811
    """Go through all runs of a case."""
    client, token = MlflowClient(bench.mlflow.address), None
    experiment = client.get_experiment_by_name(case)
    while True:
        page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def is_right(run: Run) -> bool:
    """Tell whether a run is closed, and a task's has its own values."""
    if run.info.status != "FINISHED":
        return False
    if not run.info.run_name.startswith("measure-"):
        return True
    number = int(run.info.run_name.removeprefix("measure-"))
    expected = {"square": float(number * number), "eighth": number / 8}
    return run.data.params == {"number": str(number)} and run.data.metrics == expected
