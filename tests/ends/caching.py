"""Tasks whose results are kept and found again, one for each way of saying under which key; also run as a script."""

from __future__ import annotations

import sys
from typing import Any

from prefect.cache_policies import DEFAULT, INPUTS, RUN_ID, TASK_SOURCE, CacheKeyFnPolicy

from flowml import flow, task


def double(number: int) -> dict[str, int]:
    """Return what is logged as a metric."""
    return {"doubled": 2 * number}


def key_of(_: Any, arguments: dict[str, Any]) -> str:
    """Make a key with what a filter of MLflow could stumble over."""
    return f"it's number {arguments['number']}"


WAYS: dict[str, dict[str, Any]] = {
    "INPUTS": {"cache_policy": INPUTS},
    "TASK_SOURCE": {"cache_policy": TASK_SOURCE},
    "DEFAULT": {"cache_policy": DEFAULT, "persist_result": True},
    "RUN_ID": {"cache_policy": RUN_ID},
    "custom": {"cache_policy": CacheKeyFnPolicy(cache_key_fn=key_of)},
    "cache_key_fn": {"cache_key_fn": key_of},
    "result_storage_key": {"result_storage_key": "kept-{parameters[number]}"},
}


def kept(way: str) -> Any:
    """Return the task whose result is kept in one of these ways."""
    return task(name="double", **WAYS[way])(double)


@flow
def doubles(way: str, times: int) -> None:
    """Double the same number some times."""
    for _ in range(times):
        kept(way)(4)


if __name__ == "__main__":
    doubles(sys.argv[1], int(sys.argv[2]))
