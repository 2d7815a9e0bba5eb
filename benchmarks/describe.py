"""Describing large values: flowml's dataset of a value, against MLflow's own made by hand, with schema and digest.

"ms" is the time of the thread that describes. Where MLflow has no dataset for a kind of value, the alternative is a
hash of all its bytes. A round takes over a minute: MLflow reads a table whole to tell its schema.
"""

from __future__ import annotations

import statistics
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from report import Goal, options, report

_MOST = 1.1
_ROWS = 10_000_000


def main(given: Namespace) -> None:
    """Measure and print."""
    from contest import ratio

    rows: list[dict[str, str | float]] = []
    goals = []
    for name, make, by_hand in _kinds():
        value = make()
        own: list[float] = []
        hand: list[float] = []
        for turn in range(given.rounds + 1):  # the first fills caches and imports
            taken = [_taken(_described, value), _taken(by_hand, value)]
            if turn:
                own.append(taken[0])
                hand.append(taken[1])
        goals.append(Goal(f"{name}, flowml / by hand", ratio(own, hand), most=_MOST))
        medians = {"ms, flowml": 1000 * statistics.median(own), "ms, by hand": 1000 * statistics.median(hand)}
        rows.append({"a value": name, **medians})
    report(given, f"Describing a value of {_ROWS:,} rows, or 50 million cells, {given.rounds} rounds", rows, goals)


def _kinds() -> list[tuple[str, Callable[[], Any], Callable[[Any], object]]]:
    import hashlib

    import mlflow.data
    import numpy as np
    import pandas as pd
    import polars as pl
    from scipy import sparse

    def wide() -> Any:
        return pd.DataFrame(np.zeros((10_000, 5_000)))

    def with_text() -> Any:
        return pd.DataFrame({name: np.zeros(_ROWS) for name in "abc"} | {"text": np.full(_ROWS, "x").astype(object)})

    def in_polars() -> Any:
        return pl.DataFrame({"a": np.zeros(_ROWS), "b": np.zeros(_ROWS, "int32")})

    def scattered() -> Any:
        return sparse.csr_matrix((np.ones(_ROWS), np.zeros(_ROWS, "int32"), np.arange(_ROWS + 1)), shape=(_ROWS, 1))

    def hashed(value: Any) -> object:
        return hashlib.sha256(value.data.tobytes() + value.indices.tobytes()).hexdigest()

    def of_pandas(value: Any) -> object:
        made = mlflow.data.from_pandas(value)
        return made.schema, made.digest

    return [
        ("NumPy, 13 columns", lambda: np.zeros((_ROWS, 13)), lambda value: mlflow.data.from_numpy(value).to_dict()),
        ("pandas, 3 columns and text", with_text, of_pandas),
        ("pandas, 5,000 columns", wide, of_pandas),
        ("Polars, 2 columns", in_polars, lambda value: mlflow.data.from_polars(value).to_dict()),
        ("SciPy, sparse", scattered, hashed),
    ]


def _described(value: Any) -> object:
    from flowml import describe

    return describe.inputs({"data": value}, {})


def _taken(work: Callable[[Any], object], value: Any) -> float:
    began = time.thread_time()
    work(value)
    return time.thread_time() - began


if __name__ == "__main__":
    main(options(__doc__, rounds=1, stores=False).parse_args())
