"""How the versions of a registered model did, by what was kept of their requests and what was right about them."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowml.serving.monitoring.kept import read_answers, read_truths

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

GOOD = range(200, 400)
"""The statuses of answers that are no errors."""

_TOLD = ["id", "time", "model", "version", "model_id", "status", "answer"]
_TOLD += [f"shadow_{name}" for name in ("version", "model_id", "status", "answer")]
_NEWEST = 5_000  # pieces of feedback that a server measures its versions by


def served_metrics(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return how each version did in some kept requests.

    Args:
        rows: What `served_requests` returned.

    Returns:
        By the version's number: `requests`, `errors` (answers of 400 and above), `milliseconds.p50` and `.p99`; and
        where there is feedback `truth.count`, how many predictions it was compared with, and `truth.accuracy`, the part
        of them that was equal, or `truth.mean_absolute_error`. Whole numbers have both, other numbers the error alone,
        texts and all else the accuracy alone. `truth.unfit` is how many truths could be compared with nothing, because
        the answer has another number of predictions, is an error, or was too long to be kept whole. A version that was
        asked as a shadow is measured as well.

    Example:
        >>> flowml.log_metrics(flowml.served_metrics(flowml.served_requests("churn"))["7"])
    """
    names = [name for name in rows if name not in {"request", "time", "truth_time"}]
    told = [{str(name): value for name, value in row.items()} for row in rows[names].to_dict(orient="records")]
    took: dict[str, list[float]] = {}
    found: dict[str, dict[str, float]] = {}
    for row in _answers(told):
        metrics = found.setdefault(row["version"], {"requests": 0.0, "errors": 0.0})
        metrics["requests"] += 1
        metrics["errors"] += row["status"] not in GOOD
        took.setdefault(row["version"], []).append(row["milliseconds"])
    for version, times in took.items():
        found[version] |= percentiles(times)
    for measured in compared(told):
        found[measured.version] |= measured.metrics()
    return found


def percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    """Return how long answers took, as metrics: the median, and what one of a hundred takes longer than."""
    cuts = statistics.quantiles(milliseconds, n=100) if len(milliseconds) > 1 else [*milliseconds] * 99
    return {"milliseconds.p50": cuts[49], "milliseconds.p99": cuts[98]}


@dataclass(slots=True)
class Compared:
    """A version's predictions, compared with what was right.

    Attributes:
        model: The registered model's name.
        version: The version's number.
        model_id: The logged model that it was made of.
    """

    model: str
    version: str
    model_id: str
    _equal: list[bool] = field(default_factory=list)
    _errors: list[float] = field(default_factory=list)
    _unfit: int = 0
    _is_whole: bool = True  # all that was compared is whole numbers, or none

    def add(self, answer: str, truth: Any) -> None:
        """Compare an answer with the truth."""
        pairs = _pairs(answer, truth)
        self._unfit += not pairs
        for predicted, true in pairs:
            self._equal.append(predicted == true)
            if _is_number(predicted) and _is_number(true):
                self._errors.append(abs(predicted - true))
                self._is_whole &= float(predicted).is_integer() and float(true).is_integer()

    def metrics(self) -> dict[str, float]:
        """Return what was found, by the names of `served_metrics`."""
        found = {"truth.count": float(len(self._equal)), "truth.unfit": float(self._unfit)}
        if self._equal and (self._is_whole or not self._errors):
            found["truth.accuracy"] = statistics.fmean(self._equal)
        if self._errors and len(self._errors) == len(self._equal):
            found["truth.mean_absolute_error"] = statistics.fmean(self._errors)
        return found


def compared_in(folder: Path) -> list[Compared]:
    """Return how the versions did by the newest feedback on a model's answers.

    Args:
        folder: Where the model's files are.
    """
    truths = read_truths(folder, _NEWEST)
    rows = read_answers(folder, truths, limit=_NEWEST, columns=_TOLD)
    return compared({**row, "truth": truths[row["id"]][1]} for row in rows)


def compared(rows: Iterable[Mapping[str, Any]]) -> list[Compared]:
    """Return how the versions did, of those rows that have a truth."""
    found: dict[tuple[str, str], Compared] = {}
    for row in _answers(row for row in rows if _is_told(row["truth"])):
        key = row["model"], row["version"]
        found.setdefault(key, Compared(*key, row["model_id"])).add(
            row["answer"] if row["status"] in GOOD else "", row["truth"]
        )
    return list(found.values())


def _answers(rows: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """Yield each row, and once more as what the shadow said, where it was asked."""
    for row in rows:
        yield row
        if isinstance(row.get("shadow_version"), str):
            names = [name.removeprefix("shadow_") for name in row if name.startswith("shadow_")]
            yield {**row, **{name: row[f"shadow_{name}"] for name in names}}


def _is_told(truth: Any) -> bool:
    return truth is not None and not (isinstance(truth, float) and math.isnan(truth))  # pandas may write None as NaN


def _pairs(answer: str, truth: Any) -> list[tuple[Any, Any]]:
    """Return the predictions of an answer with what was right about each; none where they do not fit."""
    try:
        predictions = json.loads(answer)["predictions"]
    except (ValueError, TypeError, KeyError):
        return []
    if not isinstance(predictions, list):
        predictions, truth = [predictions], [truth]
    elif not (isinstance(truth, list) and len(truth) == len(predictions)):
        truth = [truth]  # about the only row
    if len(predictions) != len(truth):
        return []
    return [(_only(one), _only(true)) for one, true in zip(predictions, truth, strict=True)]


def _only(value: Any) -> Any:
    """Return what is in a row with one column; any other value as it is."""
    parts = list(value.values()) if isinstance(value, dict) else value
    return parts[0] if isinstance(parts, list) and len(parts) == 1 else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
