"""MLflow by hand means the same with Prefect's decorators and with flowml's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.projects.idioms import models, opening, places, resuming, writing
from tests.projects.idioms.sides import IDIOMS, Seen, Side, Way, forget, observe

SLOW = [pytest.mark.slow, pytest.mark.e2e]
SERVED = ("round_tasks", "experiment_in_the_flow", "over_three_tasks", "store_in_the_middle", "registered_by_its_run")
THEMES = (models, opening, places, resuming, writing)  # each adds its own to IDIOMS

Look = Callable[..., Seen]


def cases(*quick: Way, losing: bool) -> Iterator[object]:
    """Give each scenario in each way of calling.

    Args:
        quick: The ways that are not slow.
        losing: With those in which MLflow alone loses the active run.
    """
    for name, one in IDIOMS.items():
        for way in one.ways:
            if losing or one.expected(way) == way:
                yield pytest.param(name, way, id=f"{name}-{way}", marks=[] if way in quick else SLOW)


@pytest.fixture(scope="module")
def looked() -> dict[tuple[str, Way], Seen]:
    """What Prefect's side gave: each scenario is run once in each way."""
    return {}


@pytest.fixture
def look(tmp_path: Path, flowml_empty_store: Path, prefect_server: None) -> Iterator[Look]:
    """Run a scenario on one side, in a folder of its own."""
    numbers = itertools.count()
    forget()

    def seen(name: str, library: str, way: Way, store: str | None = None) -> Seen:
        folder = tmp_path / str(next(numbers))
        return observe(
            IDIOMS[name], Side(library, way, folder, store or f"sqlite:///{folder}/mlflow.db"), flowml_empty_store
        )

    yield seen
    forget()


def right(name: str, way: Way, look: Look, looked: dict[tuple[str, Way], Seen]) -> Seen:
    """Return what Prefect's side gives, which all others must."""
    as_way = IDIOMS[name].expected(way)
    if (name, as_way) not in looked:
        looked[name, as_way] = look(name, "prefect", as_way)
    return looked[name, as_way]


@pytest.mark.parametrize("name, way", cases("called", "submitted", losing=True))
def test_flowml_changes_nothing(name: str, way: Way, look: Look, looked: dict[tuple[str, Way], Seen]) -> None:
    """MLflow's calls by hand give, raise and leave the same with flowml's decorators as with Prefect's."""
    assert look(name, "tracked", way) == right(name, way, look, looked)


@pytest.mark.parametrize("name, way", cases(losing=False))
def test_untracked_changes_nothing(name: str, way: Way, look: Look, looked: dict[tuple[str, Way], Seen]) -> None:
    """MLflow's calls by hand give, raise and leave the same with ``track=False`` as with Prefect's decorators."""
    assert look(name, "untracked", way) == right(name, way, look, looked)


@pytest.mark.parametrize("name, way", cases(losing=False))
def test_a_scenario_is_the_same_each_time(name: str, way: Way, look: Look, looked: dict[tuple[str, Way], Seen]) -> None:
    """What is compared is not random: Prefect's side gives the same twice."""
    again = look(name, "prefect", way)
    assert again == right(name, way, look, looked)


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("library", ["tracked", "untracked"])
@pytest.mark.parametrize("name", SERVED)
def test_flowml_changes_nothing_on_a_server(
    name: str, library: str, look: Look, served_store: Callable[[], str]
) -> None:
    """MLflow's calls by hand give, raise and leave the same in runs that are kept by a server."""
    theirs = look(name, "prefect", "called", served_store())
    assert look(name, library, "called", served_store()) == theirs
