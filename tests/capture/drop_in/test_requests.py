"""What flowml asks of Prefect's API, and says in its log, beyond what Prefect does itself."""

from __future__ import annotations

import logging
import re
from collections import Counter
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect import get_run_logger
from tests.capture.drop_in.conftest import without_flowmls
from tests.capture.drop_in.sides import ID, Side, listening, observe
from tests.runs import all_runs

from flowml.capture.links import artifacts

LABEL = "POST /api/flow_runs/<id>/input"
ARTIFACT = "POST /api/artifacts/"
NOT_OF_A_FLOW = {
    "GET /api/admin/version",  # once in a process
    "GET /api/flows/<id>",  # these two by threads of their own that send events and logs, in their own time
    "POST /api/logs/",
    "POST /api/automations/filter",  # flowml's own, at the end of a flow, at most every ten seconds in a process
}


def of_everyday_work(side: Side) -> Any:
    """Tasks that work, fail, are tried again and hit the cache; a subflow; submitted and called."""
    attempts: list[int] = []

    @side.task
    def add(x: int) -> int:
        get_run_logger().info("adding")
        return x + 1

    @side.task(retries=1)
    def flaky() -> int:
        attempts.append(1)
        if len(attempts) < 2:
            raise ValueError("not yet")
        return 1

    @side.task
    def failing() -> None:
        raise KeyError("never")

    @side.flow
    def sub(x: int) -> int:
        return add(x)

    @side.flow
    def pipeline(x: int = 1) -> Any:
        return [add(x), add.submit(x).result(), flaky(), failing(return_state=True).name, sub(x)]

    return pipeline()


def requests_of(side: Side) -> Counter[str]:
    """Count the requests that the everyday work makes and the API grants (one that is busy has Prefect ask again)."""
    artifacts.keeper.wait(20)  # for what tests before this one left
    with listening("httpx") as records:
        observe(of_everyday_work, side)
        artifacts.keeper.wait(20)  # what no flow's end waits for
    asked = (re.search(r'Request: (\w+) http://[^/]+(\S+) "HTTP/1.1 2', record.getMessage()) for record in records)
    found = Counter(re.sub(ID, "<id>", f"{one[1]} {one[2]}") for one in asked if one)
    return Counter({request: number for request, number in found.items() if request not in NOT_OF_A_FLOW})


@pytest.mark.slow
def test_a_flow_run_asks_the_api_for_a_label_and_a_summary(client: MlflowClient, every_side: dict[str, Side]) -> None:
    """A task costs no request to Prefect's API, where MLflow has no page to link; a tracked flow run costs these two.

    The label is asked for the outermost flow with ``track=False`` too: what it starts elsewhere is to know that
    nothing is tracked.
    """
    theirs = requests_of(every_side["prefect"])
    assert theirs["POST /api/flow_runs/"] == 2
    assert requests_of(every_side["tracked"]) == theirs + Counter({LABEL: 2, ARTIFACT: 2})
    assert requests_of(every_side["untracked"]) == theirs + Counter({LABEL: 1})
    assert requests_of(every_side["disabled"]) == theirs


def test_the_log_is_prefects_line_by_line(client: MlflowClient, every_side: dict[str, Side]) -> None:
    """A flow with failures, retries and a subflow says what it says without flowml; MLflow and others say nothing."""
    expected = observe(of_everyday_work, every_side["prefect"])
    with listening("mlflow") as mlflow, listening("flowml") as flowml, listening("", logging.WARNING) as everybody:
        seen = observe(of_everyday_work, every_side["tracked"])
    assert without_flowmls(seen.lines, most=2) == expected.lines
    assert len([line for line in seen.lines if line.endswith(": adding")]) == 3
    assert [record.getMessage() for record in [*mlflow, *flowml]] == []
    assert [record.name for record in everybody if not record.name.startswith("prefect")] == []
    assert seen.printed == ""
    assert len(all_runs(client)) == 8
