"""A flowml flow or task is Prefect's own, but for the tracking."""

from __future__ import annotations

import copy
import inspect
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import cloudpickle
import prefect
import pytest
from mlflow import MlflowClient
from prefect import cache_policies
from prefect.client.schemas import TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import task_input_hash
from tests.runs import all_runs, run_of, runs_of

import flowml
from flowml import Track, flow, task
from flowml.capture.engine.hooks import close_tracked_runs


def plain(number: int, words: tuple[str, ...] = ()) -> int:
    """Add one."""
    return number + 1


async def waiting(number: int) -> int:
    """Give it back."""
    return number


def counting(number: int) -> Any:
    """Count up."""
    yield from range(number)


async def streaming(number: int) -> Any:
    """Count up, slowly."""
    for value in range(number):
        yield value


class Adder:
    """A callable object."""

    def __call__(self, number: int) -> int:
        """Add one."""
        return number + 1


FUNCTIONS = [plain, waiting, counting, streaming, Adder(), lambda number: number]


@pytest.mark.parametrize("fn", FUNCTIONS, ids=lambda fn: getattr(fn, "__name__", type(fn).__name__))
def test_a_task_has_every_attribute_of_prefects(fn: Any) -> None:
    """``flowml.task(f)`` and ``prefect.task(f)`` are equal in each attribute, its key and its source among them."""
    options: dict[str, Any] = {"retries": 2, "tags": ["a"], "timeout_seconds": 3}
    ours, theirs = task(fn, **options), prefect.task(fn, **options)
    assert isinstance(ours, prefect.Task)
    assert {**vars(ours), "track": None} == {**vars(theirs), "track": None}
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert ours.__doc__ == theirs.__doc__


@pytest.mark.parametrize("fn", [plain, waiting], ids=lambda fn: fn.__name__)
def test_a_flow_has_every_attribute_of_prefects(fn: Any) -> None:
    """``flowml.flow(f)`` has Prefect's version, entrypoint, parameter schema and the rest."""
    ours, theirs = flow(fn, name="same", retries=1), prefect.flow(fn, name="same", retries=1)
    assert isinstance(ours, prefect.Flow)
    assert ours.on_crashed_hooks == ours.on_cancellation_hooks == [close_tracked_runs]
    apart = {"track": None, "task_runner": None}  # each flow makes a task runner of its own
    apart |= {"on_crashed_hooks": [], "on_cancellation_hooks": []}
    assert {**vars(ours), **apart} == {**vars(theirs), **apart}
    assert ours._entrypoint == f"{__name__}:{fn.__qualname__}"
    assert ours.version == theirs.version is not None


def test_the_function_is_the_users_to_every_inspection() -> None:
    """Source, file, code, annotations, kind and equality of ``task.fn`` are the user's function's."""
    for fn in (plain, waiting, counting, streaming):
        seen = task(fn).fn
        assert seen == fn
        assert inspect.getsource(seen) == inspect.getsource(fn)
        assert inspect.getsourcefile(seen) == __file__
        assert seen.__code__ is fn.__code__
        assert inspect.get_annotations(seen) == inspect.get_annotations(fn)
        assert inspect.iscoroutinefunction(seen) == inspect.iscoroutinefunction(fn)
        assert inspect.isgeneratorfunction(seen) == inspect.isgeneratorfunction(fn)
        assert inspect.isasyncgenfunction(seen) == inspect.isasyncgenfunction(fn)


@pytest.mark.parametrize(
    "policy",
    [cache_policies.INPUTS, cache_policies.TASK_SOURCE, cache_policies.DEFAULT, cache_policies.INPUTS - "number"],
    ids=str,
)
def test_cache_keys_are_prefects(policy: Any) -> None:
    """Under each cache policy both make the same key, so that a cache survives the change to flowml."""
    run = TaskRun(task_key="same", dynamic_key="1", flow_run_id=uuid4())

    def key_of(made: Any) -> str | None:
        context = TaskRunContext.model_construct(task=made, task_run=run, parameters={})
        return policy.compute_key(task_ctx=context, inputs={"number": 1}, flow_parameters={"a": 1})

    key = key_of(prefect.task(plain))
    assert key_of(task(plain)) == key
    assert key is not None


def test_the_old_cache_key_function_gives_the_same_key() -> None:
    """``task_input_hash``, which reads the function's byte code, sees the user's."""
    ours = TaskRunContext.model_construct(task=task(plain))
    theirs = TaskRunContext.model_construct(task=prefect.task(plain))
    assert task_input_hash(ours, {"a": 1}) == task_input_hash(theirs, {"a": 1})


def test_with_options_keeps_the_class_and_the_tracking(client: MlflowClient) -> None:
    """A changed copy is still flowml's, tracked as before, unless it is told otherwise."""
    original = task(plain, track=Track(tags={"team": "risk"}), retries=3)
    changed = original.with_options(name="renamed", retries=1)
    assert type(changed) is flowml.Task
    assert (changed.name, changed.retries, changed.task_key) == ("renamed", 1, original.task_key)
    assert changed.track == original.track
    assert original.with_options(track=False).track is None

    @flow
    def pipeline() -> int:
        return changed(1)

    renamed = pipeline.with_options(name="other", version="7")
    assert type(renamed) is flowml.Flow
    assert (renamed.version, renamed._entrypoint) == ("7", pipeline._entrypoint)
    renamed()
    assert run_of(client, "renamed").data.tags["team"] == "risk"


def test_fn_is_plain_python_wherever_it_is_called(client: MlflowClient) -> None:
    """``task.fn`` opens no run: outside, in a flow, in another task, in the task itself, in a hook."""

    @task(on_completion=[lambda task, *_: task.fn(0)])
    def countdown(number: int) -> int:
        return countdown.fn(number - 1) if number else 0

    @task
    def other() -> int:
        return countdown.fn(2)

    @flow
    def pipeline() -> int:
        return countdown.fn(1) + other() + countdown(3)

    assert countdown.fn(5) == 0
    assert pipeline.fn.__wrapped__ is not None
    pipeline()
    assert len(runs_of(client, "countdown")) == 1
    assert len(all_runs(client)) == 3


def test_methods_of_all_kinds_are_tracked(client: MlflowClient) -> None:
    """Instance, class and static methods work as tasks, and as flows (Prefect calls a static one through its class)."""

    class Model:
        factor = 2

        @task
        def instance(self, number: int) -> int:
            return number * self.factor

        @task
        @classmethod
        def of_class(cls, number: int) -> int:
            return number * cls.factor

        @task
        @staticmethod
        def static(number: int) -> int:
            return number * 3

        @flow
        def pipeline(self, number: int) -> int:
            return self.instance(number) + self.of_class(number) + Model.static(number)

    assert Model().pipeline(1) == 7
    assert run_of(client, "instance").data.metrics == {"instance": 2}
    assert run_of(client, "instance").data.params["number"] == "1"
    assert run_of(client, "of_class").data.metrics == {"of_class": 2}
    assert run_of(client, "static").data.metrics == {"static": 3}
    assert run_of(client, "pipeline").data.metrics["pipeline"] == 7


def test_a_callable_object_is_a_task(client: MlflowClient) -> None:
    """An object with ``__call__`` can be a task and is tracked."""
    add = task(Adder(), name="add")

    @flow
    def pipeline() -> int:
        return add(1)

    assert pipeline() == 2
    assert run_of(client, "add").data.metrics == {"add": 2}


def test_materialize_makes_a_tracked_materializing_task(client: MlflowClient) -> None:
    """``flowml.materialize`` is Prefect's, with a run."""

    @flowml.materialize("s3://lake/features.parquet", by="pandas", retries=1)
    def features(rows: int) -> float:
        return rows / 2

    changed = features.with_options(retries=0)
    assert isinstance(changed, prefect.tasks.MaterializingTask)
    assert [asset.key for asset in changed.assets] == ["s3://lake/features.parquet"]

    @flow
    def pipeline() -> float:
        return changed(4)

    assert pipeline() == 2
    assert run_of(client, "features").data.metrics == {"features": 2}


def test_annotations_written_as_text_are_understood(client: MlflowClient) -> None:
    """A flow in a module of string annotations validates its parameters in that module."""

    @flow
    def dated(day: datetime, where: Path = Path("data")) -> int:
        return day.year

    assert dated("2026-01-02T00:00:00+00:00") == 2026  # type: ignore[arg-type]
    assert run_of(client, "dated").data.params["day"].startswith("2026-01-02")
    assert datetime(2026, 1, 2, tzinfo=timezone.utc).year == 2026


def test_a_pickled_task_is_still_tracked(client: MlflowClient) -> None:
    """Through cloudpickle and copy, a task keeps its function, its class and its tracking."""
    original = task(plain, track=Track(tags={"team": "risk"}))
    for twin in (cloudpickle.loads(cloudpickle.dumps(original)), copy.copy(original)):
        assert type(twin) is flowml.Task
        assert twin.task_key == original.task_key

        @flow
        def pipeline() -> int:
            return twin(1)  # noqa: B023 - called in this turn of the loop

        assert pipeline() == 2
    assert [run.data.tags["team"] for run in runs_of(client, "plain")] == ["risk", "risk"]


@pytest.mark.parametrize("decorate", [task, flow])
def test_wrong_options_are_refused_at_decoration(decorate: Any) -> None:
    """An unknown option, a wrong ``track=`` and an unknown field of Track say what is allowed."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'retrys'"):
        decorate(plain, retrys=3)
    with pytest.raises(TypeError, match=r"track= takes True, False or a flowml.Track, not 'yes'"):
        decorate(plain, track="yes")
    with pytest.raises(TypeError, match=r"Track has no option 'inptus'; it takes inputs, .* Did you mean 'inputs'\?"):
        Track(inptus=True)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"Track\(run=...\) takes 'own' or 'parent' or 'skip', not 'child'"):
        Track(run="child")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes True, False or a list of argument names, not 'rate'"):
        Track(inputs="rate")


def test_errors_of_wrong_calls_are_prefects() -> None:
    """A call that does not fit the signature raises what Prefect raises."""
    with pytest.raises(TypeError) as ours:
        task(plain)()
    with pytest.raises(TypeError) as theirs:
        prefect.task(plain)()
    assert (type(ours.value), str(ours.value)) == (type(theirs.value), str(theirs.value))


def test_flow_from_source_loads_a_tracked_flow(client: MlflowClient, tmp_path: Path) -> None:
    """``flow.from_source`` loads a flow from a folder."""
    (tmp_path / "remote.py").write_text(
        "from flowml import flow\n\n@flow\ndef remote(x: int = 2) -> int:\n    return x\n"
    )
    loaded = flow.from_source(str(tmp_path), "remote.py:remote")
    assert type(loaded) is flowml.Flow
    assert loaded() == 2
    assert run_of(client, "remote").data.metrics == {"remote": 2}
