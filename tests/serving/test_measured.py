"""What versions did, by what was right about their answers; no server is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flowml import RegistryError, served_metrics, served_requests


def told(*answers: tuple[Any, Any], status: int = 200, **more: Any) -> pd.DataFrame:
    """Return rows as they are read: predictions, and the truth about them."""
    row = {"model": "churn", "version": "1", "model_id": "m-1", "milliseconds": 2.0, "status": status, **more}
    rows = [{**row, "answer": json.dumps({"predictions": made}), "truth": truth} for made, truth in answers]
    return pd.DataFrame(rows, dtype=object)


@pytest.mark.parametrize(
    "answers, count, accuracy, error",
    [
        ([([1, 0], [1, 1]), ([2], 5)], 3, 1 / 3, 4 / 3),
        ([([0.5], 1), ([2.0], [2])], 2, None, 0.25),
        ([(["a"], "a"), (["b"], "a")], 2, 0.5, None),
        ([([True], False), ([True], True)], 2, 0.5, None),
        ([([{"y": 1}], 1), ([[2]], 2), (3, 3)], 3, 1.0, 0.0),  # rows of one column, and no rows at all
        ([([[1, 2]], [1, 2])], 1, 1.0, None),
    ],
)
def test_predictions_are_compared(
    answers: list[tuple[Any, Any]], count: int, accuracy: float | None, error: float | None
) -> None:
    """Whole numbers have accuracy and error, others the error, all else the accuracy."""
    found = served_metrics(told(*answers))["1"]
    assert (found["truth.count"], found["truth.unfit"]) == (count, 0)
    assert found.get("truth.accuracy") == (None if accuracy is None else pytest.approx(accuracy))
    assert found.get("truth.mean_absolute_error") == (None if error is None else pytest.approx(error))


def test_what_cannot_be_compared_is_counted() -> None:
    """Another number of rows, an error, an answer that was cut: none of them is right or wrong."""
    rows = pd.concat([told(([1, 2], 1), ([1], None)), told(([1], 1), status=400), told(([1], 1)).assign(answer="{")])
    found = served_metrics(rows)["1"]
    assert (found["requests"], found["errors"], found["truth.count"], found["truth.unfit"]) == (4, 1, 0, 3)
    assert "truth.accuracy" not in found


def test_a_shadow_is_compared_too() -> None:
    """It was asked the same, so the same is right about it."""
    other = {"version": "2", "model_id": "m-2", "milliseconds": 5.0, "status": 200, "answer": '{"predictions": [0]}'}
    rows = pd.concat([told(([1], 1), **{f"shadow_{key}": value for key, value in other.items()}), told(([1], 1))])
    found = served_metrics(rows)
    assert {version: each["truth.accuracy"] for version, each in found.items()} == {"1": 1, "2": 0}
    assert (found["1"]["requests"], found["2"]["requests"], found["2"]["milliseconds.p50"]) == (2, 1, 5)


def test_where_nothing_was_kept_there_is_nothing(project: Path) -> None:
    """A table with no rows and all columns; a reference is not a model's name."""
    nothing = served_requests("churn")
    assert (len(nothing), "truth" in nothing, served_metrics(nothing)) == (0, True, {})
    with pytest.raises(RegistryError, match="without alias or version"):
        served_requests("churn@champion")
