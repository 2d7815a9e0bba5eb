"""Generator tasks in any order: each call is under the body that made it."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

import pytest
from hypothesis import HealthCheck, example, given, settings
from mlflow import MlflowClient
from prefect.settings import PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW, temporary_settings
from tests.capture.interleaved import Program, Step, programs
from tests.runs import all_runs, parent_of

import flowml

pytestmark = pytest.mark.e2e


def compare(client: MlflowClient, most: int) -> None:
    """Draw programs; assert that each call's run is under the run of the body that made it, and that all are closed."""

    @settings(
        max_examples=most,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.nested_given],
    )
    @given(steps=programs)
    @example(steps=[Step("make"), Step("make"), Step("resume", 0), Step("give"), Step("resume", 1), Step("give")])
    def each(steps: list[Step]) -> None:
        before = {run.info.run_id for run in all_runs(client)}
        program = Program(steps)
        copy_context().run(asyncio.run, program.carry_out())
        flowml.flush()
        runs = [run for run in all_runs(client) if run.info.run_id not in before]
        names = {run.info.run_id: str(run.info.run_name) for run in runs}
        assert {names[run.info.run_id]: names.get(parent_of(run) or "") for run in runs} == program.under
        assert {run.info.status for run in runs} <= {"FINISHED", "FAILED"}

    with temporary_settings({PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}):
        each()


def test_each_call_is_under_the_body_that_made_it(client: MlflowClient) -> None:
    """However generators are made, resumed, closed and let go in each other, parents are right."""
    compare(client, 5)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_each_call_is_under_the_body_that_made_it_in_very_many_programs(client: MlflowClient) -> None:
    """The same holds in two hundred programs."""
    compare(client, 200)
