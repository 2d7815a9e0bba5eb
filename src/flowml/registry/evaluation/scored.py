"""Scores of single rows, measured as models are: their mean, how sure it is, and which of two has the better one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowml.errors import RegistryError, did_you_mean, listed
from flowml.registry.evaluation.bootstrap import Interval, interval
from flowml.registry.evaluation.metrics import Metric, Own, OwnMetric
from flowml.registry.evaluation.predictions import Predictions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_LEAST = 2  # rows of which a mean is more or less sure


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Rows with a number from each scorer.

    Attributes:
        keys: What tells each row from the others, the same in another evaluation of the same data.
        rows: What is known of each: the fields of its inputs, which a rule's ``where`` is about.
        scores: For each row a number, by the scorer's name; not a number where a row has none.
        whose: What was evaluated, for messages.
        missing: Why some rows are without a score, by the scorer's name.
    """

    keys: tuple[str, ...]
    rows: pd.DataFrame
    scores: Mapping[str, np.ndarray[Any, Any]]
    whose: str
    missing: Mapping[str, str]

    @property
    def digest(self) -> str:
        """The SHA-256 of the rows and their scores."""
        told = {name: [repr(float(each)) for each in values] for name, values in sorted(self.scores.items())}
        return hashlib.sha256(json.dumps([self.keys, told]).encode()).hexdigest()

    def of(self, name: str) -> np.ndarray[Any, Any]:
        """Return the scores of one name, for a decision.

        Raises:
            RegistryError: If there are none, or some rows have none.
        """
        if name not in self.scores:
            hint = did_you_mean(name, self.scores) or f"There are {listed(self.scores)}."
            msg = f"No scorer of {self.whose} is called {name!r}. {hint}"
            raise RegistryError(msg)
        if name in self.missing:
            msg = f"{name} of {self.whose} is not complete: {self.missing[name]}. Nothing was decided."
            raise RegistryError(msg)
        return self.scores[name]

    def at(self, keys: tuple[str, ...]) -> list[int]:
        """Return where the rows of these keys are."""
        places = {key: place for place, key in enumerate(self.keys)}
        return [places[key] for key in keys]


def measure(name: str, own: Mapping[str, Own]) -> Metric:
    """Return the mean of scores as a metric; a user's own metric of that name says which direction is better."""
    given = own.get(name)
    is_higher_better = given.higher_is_better if isinstance(given, OwnMetric) else True
    return Metric(name, is_higher_better, _mean, "numbers")


def told(values: np.ndarray[Any, Any], whose: str) -> Predictions:
    """Return scores as what is said about rows, without a truth to compare them with."""
    import numpy as np

    nothing = np.zeros(len(values))
    return Predictions(nothing, values, values, np.array([]), None, None, whose)


def interval_of(name: str, values: np.ndarray[Any, Any], *, confidence: float, resamples: int) -> Interval | None:
    """Return between what the mean of scores is; None of a single row."""
    if len(values) < _LEAST:
        return None
    return interval(measure(name, {}), told(values, name), None, confidence=confidence, resamples=resamples)


def difference(
    name: str, one: np.ndarray[Any, Any], other: np.ndarray[Any, Any], *, confidence: float, resamples: int
) -> Interval | None:
    """Return between what the difference of two means of the same rows is; None of a single row."""
    if len(one) < _LEAST:
        return None
    metric = measure(name, {})
    return interval(metric, told(one, "one"), told(other, "the other"), confidence=confidence, resamples=resamples)


def _mean(truth: np.ndarray[Any, Any], predicted: np.ndarray[Any, Any]) -> float:  # noqa: ARG001 - scores have none
    return float(predicted.mean())
