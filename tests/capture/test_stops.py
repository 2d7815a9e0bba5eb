"""What flowml does itself stops at its guard, whatever is raised; an order to stop goes through."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import polars as pl
import prefect.exceptions
import pytest
from mlflow import MlflowClient
from prefect.utilities.timeout import CancelledError
from tests.runs import flow_run, run_of, runs_of

import flowml
from flowml import Dataset, Track, describe, faults, flow, records, task


class Panic(BaseException):
    """As what is written in Rust raises it: no `Exception`."""


class Raises:
    """Raises an exception where it is described."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error


@describe.register(Raises)
def _(value: Raises, place: describe.Place) -> Iterator[records.Record]:
    yield records.Param(place.label, "begun")
    raise value.error("now")


@pytest.mark.parametrize(
    "order",
    [
        *(KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, CancelledError),
        *(prefect.exceptions.Abort, prefect.exceptions.Pause, prefect.exceptions.TerminationSignal),
    ],
)
def test_an_order_to_stop_goes_through(order: type[BaseException]) -> None:
    """Python's own, a cancellation by asyncio, and what Prefect ends or pauses a run with."""
    with pytest.raises(order):
        describe.inputs({"x": [Raises(order)]}, {})
    with pytest.raises(order):
        describe.outputs({"x": Raises(order)}, "t")


class PanickingMapping(Mapping[str, float]):
    """Panics when it is looked into."""

    def __getitem__(self, key: str) -> float:
        raise Panic(key)

    def __iter__(self) -> Iterator[str]:
        raise Panic

    def __len__(self) -> int:
        return 1


class Panicking:
    """Panics wherever it is touched; an estimator to look at."""

    def _panic(self, *_: Any, **__: Any) -> Any:
        raise Panic

    __repr__ = __str__ = __reduce_ex__ = get_params = fit = _panic

    def predict(self, rows: Any) -> Any:
        """Give nothing of interest."""
        return rows


def test_a_panic_stops_at_the_guard(client: MlflowClient, caplog: pytest.LogCaptureFixture) -> None:
    """A value that makes a library panic costs neither the task nor what else is logged of it."""

    def panics() -> str:
        raise Panic("no name")

    @task(cache_policy=None)
    def use(table: Any, sets: Any, thing: Any, rate: float) -> int:
        flowml.log(other=Raises(Panic), loss=0.5)
        return len(table)

    @task(cache_policy=None)
    def steps(thing: Any) -> Iterator[Any]:
        yield PanickingMapping()
        yield 0.5

    @task(cache_policy=None)
    def also() -> tuple[float, Any]:
        return 0.25, Panicking()

    @flow(track=Track(experiment=panics))
    def main() -> list[Any]:
        table = pl.DataFrame({"tags": pl.Series([{"a"}, {"b"}], dtype=pl.Object), "n": [1, 2]})
        used = use(table, {"inner": PanickingMapping()}, Panicking(), 0.5)
        return [used, list(steps(Raises(Panic)))[1], also()[0]]

    assert main() == [2, 0.5, 0.25]
    used = run_of(client, "use")
    assert used.data.params["rate"] == "0.5"
    assert used.data.metrics == {"loss": 0.5, "use": 2.0}
    assert used.data.params["thing"] == "<Panicking>"
    assert used.data.params["other"].startswith("Raises (not described: Panic")
    assert [given.dataset.name for given in used.inputs.dataset_inputs] == ["table"]
    assert run_of(client, "steps").data.metrics == {"steps": 0.5}
    assert run_of(client, "also").data.metrics == {"also.0": 0.25}
    assert flow_run(client).info.status == "FINISHED"
    assert "Track(experiment=" in caplog.text


@pytest.mark.parametrize(
    "place", ["flowml.store.open_run", "flowml.describe.inputs", "flowml.capture.engine.tracked.call_of"]
)
def test_a_panic_in_flowml_itself_is_a_warning(
    place: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever it is raised, the user's function gives what it gives, and the log says what could not be done."""

    def panics(*_: Any, **__: Any) -> Any:
        raise Panic(Panicking())

    @flow
    def main() -> int:
        return 2

    monkeypatch.setattr(faults, "strict", False)
    monkeypatch.setattr(place, panics)
    assert main() == 2
    assert "flowml: could not " in caplog.text
    assert ": Panic. Your code goes on." in caplog.text


def test_a_save_that_is_refused_is_one_line(client: MlflowClient, caplog: pytest.LogCaptureFixture) -> None:
    """However many tasks return it, the log says once why and what to do; each run has it in a tag."""

    @task(cache_policy=None)
    def load(number: int) -> Annotated[Any, Dataset("train", save=True)]:
        return pl.DataFrame({"tags": pl.Series([{"a"}] * number, dtype=pl.Object)})

    @flow
    def main() -> None:
        for number in (1, 2):
            load(number)

    main()
    lines = [record.getMessage() for record in caplog.records if "could not save" in record.getMessage()]
    assert len(lines) == 1
    assert "could not save the content of 'train': ComputeError: " in lines[0]
    assert "return its path" in lines[0]
    for run in runs_of(client, "load"):
        assert [each.dataset.name for each in run.inputs.dataset_inputs] == ["train"]
        assert lines[0].removeprefix("flowml: ").startswith(run.data.tags["flowml.not_logged.train"])


def test_prefects_timeout_reaches_into_describing(client: MlflowClient) -> None:
    """A task that runs out of its time while its argument is looked at times out, as Prefect's does in its body."""

    class Endless:
        pass

    waiting = threading.Event()

    @describe.register(Endless)
    def _(value: Endless, place: describe.Place) -> list[records.Record]:
        while not waiting.wait(0.05):
            pass
        return []

    @task(cache_policy=None, timeout_seconds=0.5)
    def use(value: Endless) -> None: ...

    @flow
    def main() -> str:
        return use(Endless(), return_state=True).name

    assert main() == "TimedOut"
    assert not waiting.is_set()
    assert run_of(client, "use").info.status == "FAILED"
