"""A program, or a test suite, that puts flowml's decorators in the place of Prefect's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import prefect
import prefect.assets
import prefect.flows
import prefect.tasks
import pytest
from mlflow import MlflowClient
from tests.runs import parent_of, run_of

import flowml

FLOW = """
import prefect

@prefect.flow
def loaded(number: int) -> int:
    return number
"""


@pytest.fixture
def _in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put flowml's decorators and classes where programs find Prefect's."""
    places = {prefect: ("flow", "task", "Flow", "Task"), prefect.flows: ("flow",), prefect.tasks: ("task",)}
    for module, names in {**places, prefect.assets: ("materialize",)}.items():
        for name in names:
            monkeypatch.setattr(module, name, getattr(flowml, name))


def double(number: int) -> int:
    """Be decorated."""
    return 2 * number


@pytest.mark.usefixtures("_in_place")
def test_flowmls_decorators_work_in_prefects_place(client: MlflowClient, tmp_path: Path) -> None:
    """Flows and tasks that are made under Prefect's names are tracked, however they are made."""
    tasks: dict[str, Any] = {
        "bare": prefect.task(double),
        "with options": prefect.task(retries=1)(double),
        "changed": prefect.task(double).with_options(retries=1),
        "of the class": prefect.Task(double),
        "materializing": prefect.assets.materialize("s3://bucket/key")(double),
        "of flowml": flowml.task(double),
    }
    (tmp_path / "loaded.py").write_text(FLOW)
    loaded: Any = prefect.flow.from_source(str(tmp_path), "loaded.py:loaded")

    @prefect.flow(name="around", validate_parameters=False)
    def around() -> list[int]:
        given = [each.with_options(name=name)(2) for name, each in tasks.items()]
        return [*given, prefect.flow(double)(3), prefect.Flow(double, name="of the class too")(4), loaded(5)]

    assert around.with_options(retries=1)() == [4] * 6 + [6, 8, 5]
    above = run_of(client, "around").info.run_id
    for name in (*tasks, "double", "of the class too", "loaded"):
        assert parent_of(run_of(client, name)) == above
