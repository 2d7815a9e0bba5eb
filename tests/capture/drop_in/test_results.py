"""What is kept of results: caches, persisted results, transactions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from prefect.cache_policies import DEFAULT, INPUTS, NO_CACHE, RUN_ID, TASK_SOURCE, CacheKeyFnPolicy
from prefect.results import ResultStore
from prefect.tasks import task_input_hash
from prefect.transactions import transaction
from tests.capture.drop_in.conftest import Compare
from tests.capture.drop_in.sides import Side, plain


def of_caches(side: Side) -> Any:
    """Hit and miss under each policy, refreshed and expired, within a run and from one run to the next."""
    bodies: list[Any] = []
    policies = {
        "default": {"cache_policy": DEFAULT},
        "inputs": {"cache_policy": INPUTS},
        "source": {"cache_policy": TASK_SOURCE},
        "run": {"cache_policy": RUN_ID},
        "some inputs": {"cache_policy": INPUTS - "y"},
        "sum": {"cache_policy": INPUTS + TASK_SOURCE},
        "function": {"cache_policy": CacheKeyFnPolicy(cache_key_fn=lambda _context, given: f"key-{given['x']}")},
        "old function": {"cache_key_fn": task_input_hash},
        "none": {"cache_policy": NO_CACHE},
        "refreshed": {"cache_policy": INPUTS, "refresh_cache": True},
        "expired": {"cache_policy": INPUTS, "cache_expiration": timedelta(0)},
    }

    @side.task(persist_result=True)
    def work(policy: str, x: int, y: int = 0) -> int:
        bodies.append([policy, x, y])
        return x + y

    @side.flow
    def pipeline() -> Any:
        states = {}
        for name, options in policies.items():
            caching = work.with_options(**options)
            given = [(name, 1), (name, 1), (name, 1, 5), (name, 2)]
            states[name] = [caching(*arguments, return_state=True).name for arguments in given]
        return states

    first, second = pipeline(), pipeline()
    assert first["inputs"] == ["Completed", "Cached", "Completed", "Completed"]
    assert set(second["default"]) != set(second["inputs"]) == {"Cached"}
    return first, second, bodies


def of_cached_states(side: Side) -> Any:
    """A hit in full: the state, its message, its hooks, what an async and a submitted call give."""
    heard: list[Any] = []

    def hook(task: Any, run: Any, state: Any) -> None:
        heard.append([task.name, run.run_count, plain(state)])

    options = {"persist_result": True, "on_completion": [hook], "cache_policy": INPUTS}

    @side.task(**options)
    def work(x: int) -> int:
        return x * 10

    @side.task(**options)
    async def work_async(x: int) -> int:
        return x * 100

    @side.flow
    def pipeline() -> Any:
        states = [work(1, return_state=True), work(1, return_state=True), work.submit(1, return_state=True)]
        states += [work_async.submit(2, return_state=True), work_async.submit(2, return_state=True)]
        assert [state.name for state in states] == ["Completed", "Cached", "Cached", "Completed", "Cached"]
        return plain(states)

    return pipeline(), heard


def of_persisted_results(side: Side) -> Any:
    """Where and how results are persisted, read back from their files."""

    @side.task(persist_result=True, result_serializer="json", result_storage_key="one-{parameters[x]}.json")
    def as_json(x: int) -> dict[str, int]:
        return {"x": x}

    @side.task(persist_result=True, result_serializer="compressed/pickle", result_storage_key="two")
    def compressed() -> list[int]:
        return [1, 2, 3]

    @side.task(cache_result_in_memory=False)
    def not_kept() -> int:
        return 5

    @side.flow(persist_result=True, result_serializer="json")
    def pipeline() -> list[Any]:
        return [as_json(4), compressed(), not_kept()]

    state = pipeline(return_state=True)
    store = ResultStore()
    read = {key: store.read(key, holder=None).result for key in ("one-4.json", "two")}
    kept = {"one-4.json", "two"}
    assert kept <= {path.name for path in side.storage.iterdir()}
    metadata = [state.data.metadata.serializer.type, state.data.metadata.storage_key.count("/")]
    return state, read, metadata, len(list(side.storage.iterdir()))


def of_transactions(side: Side) -> Any:
    """Commit and rollback with their hooks, within a flow and in none."""
    heard: list[Any] = []

    @side.task
    def write(name: str) -> str:
        return name

    @write.on_rollback
    def undo(txn: Any) -> None:
        heard.append(["undo", txn.state.name, txn.get("name", None)])

    @write.on_commit
    def done(txn: Any) -> None:
        heard.append(["done", txn.state.name])

    @side.task
    def check(text: str) -> None:
        if text != "good":
            raise ValueError(text)

    @side.flow
    def pipeline(text: str) -> str:
        with transaction() as txn:
            txn.set("name", "mine")
            written = write("a")
            check(text)
        return written

    assert pipeline("good") == "a"
    state = pipeline("bad", return_state=True)
    assert [entry[0] for entry in heard] == ["done", "undo"]
    with transaction():
        write("alone")
    return state, heard, [hook.__name__ for hook in (*write.on_rollback_hooks, *write.on_commit_hooks)]


def of_unserializable_results(side: Side) -> Any:
    """A result that its serializer refuses."""

    @side.task(persist_result=True, result_serializer="json")
    def strange() -> Any:
        return {1, 2}.__iter__()

    @side.flow
    def pipeline() -> Any:
        return strange()

    return type(pipeline()).__name__, pipeline(return_state=True).name


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(of_caches, marks=pytest.mark.slow),
        of_cached_states,
        of_persisted_results,
        of_transactions,
        pytest.param(of_unserializable_results, marks=pytest.mark.slow),
    ],
    ids=lambda scenario: scenario.__name__,
)
def test_results_are_kept_as_in_prefect(scenario: Callable[[Side], Any], compare: Compare) -> None:
    """Caches, persisted results and transactions hold and give back the same."""
    assert compare(scenario).lines
