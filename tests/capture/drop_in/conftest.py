"""Compares what is seen of a scenario on all sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from mlflow import MlflowClient
from tests.capture.drop_in.sides import Seen, Side, observe, sides
from tests.runs import all_runs

from flowml import settings

Compare: TypeAlias = Callable[..., Seen]


@pytest.fixture
def turned_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """Make flowml's setting ``enabled`` false for a while, in the environment."""

    @contextmanager
    def off() -> Iterator[None]:
        with monkeypatch.context() as patched:
            patched.setenv("FLOWML_ENABLED", "false")
            settings.reload()
            yield
        settings.reload()

    return off


@pytest.fixture
def every_side(tmp_path: Path, turned_off: Callable[[], AbstractContextManager[None]]) -> dict[str, Side]:
    """Prefect's decorators, and flowml's: tracked, and untracked in each way."""
    return sides(tmp_path, turned_off)


@pytest.fixture(params=["tracked", pytest.param("disabled-setting-untracked", marks=pytest.mark.slow)])
def compare(request: pytest.FixtureRequest, client: MlflowClient, every_side: dict[str, Side]) -> Compare:
    """Run a scenario with Prefect and with flowml, fail if anything that is seen differs, and return what is."""

    def compared(scenario: Callable[[Side], Any], *, ordered: bool = True) -> Seen:
        expected = observe(scenario, every_side["prefect"], ordered=ordered)
        for name in request.param.split("-"):
            before = len(all_runs(client))
            seen = observe(scenario, every_side[name], ordered=ordered)
            seen.lines = without_flowmls(seen.lines, most=len(seen.runs))
            assert seen == expected, name
            made = len(all_runs(client)) - before
            assert (made > 0) == (name == "tracked"), f"{name} made {made} MLflow runs"
        return expected

    return compared


def without_flowmls(lines: list[str], most: int) -> list[str]:
    """Leave out flowml's own lines, of which each flow run may have one."""
    own = [line for line in lines if "flowml" in line.lower() or "mlflow" in line.lower()]
    assert len(own) <= most, own
    return [line for line in lines if line not in own]
