"""Metrics by name, as scikit-learn computes them, and functions of the user's own.

``mlflow.models.evaluate`` is not used: it evaluates one model on all rows, logs to the active run, and gives no value
for rows that are drawn anew, which is what comparing two models on the same rows asks for. The functions are the same.
"""

from __future__ import annotations

import inspect
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from flowml.errors import RegistryError, did_you_mean, listed
from flowml.registry.evaluation.predictions import Kind, describe_classes

if TYPE_CHECKING:
    from flowml.registry.evaluation.predictions import Predictions

_TWO = 2  # classes, one of which is the positive one
_AVERAGES = ("macro", "micro", "weighted")
_SHORT = {"auc": "roc_auc", "mse": "mean_squared_error", "rmse": "root_mean_squared_error"} | {
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
}


@dataclass(frozen=True, slots=True)
class OwnMetric:
    """A metric of your own, of which you say whether a higher value is better.

    Args:
        function: Called with the true values, the predictions and, if it takes a third argument, the probabilities of
            the classes; it returns a number.
        higher_is_better: Whether a higher value is better.

    Raises:
        TypeError: If it is no function.

    Example:
        >>> metrics = {"cost": OwnMetric(cost, higher_is_better=False)}
    """

    function: Callable[..., float]
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if not callable(self.function):
            msg = f"OwnMetric(function=...) takes a function of true values and predictions, not {self.function!r}."
            raise TypeError(msg)


Own: TypeAlias = "OwnMetric | Callable[..., float]"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that can be computed.

    Attributes:
        name: Its name.
        higher_is_better: Whether a higher value is better.
        function: The user's own function, or the name of scikit-learn's.
        kind: What scikit-learn's function compares with the truth.
        options: What it is given besides.
        is_binary: Whether it is about two classes, one of which is the positive one.
        needs_contrast: Whether it says nothing about rows that are all of one class.
    """

    name: str
    higher_is_better: bool
    function: Callable[..., float] | str
    kind: Kind = "labels"
    options: Mapping[str, Any] = field(default_factory=dict)
    is_binary: bool = False
    needs_contrast: bool = False

    def value(self, predictions: Predictions) -> float:
        """Compute it, whatever comes of it.

        Raises:
            Exception: What the function raises.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that are not defined: these are found by what they are
            if not isinstance(self.function, str):
                return float(self.function(*_arguments(self.function, predictions)))
            import sklearn.metrics

            function, compared = getattr(sklearn.metrics, self.function), predictions.of_kind(self.kind, self.name)
            return float(function(predictions.truth, compared, **self._given(predictions)))

    def checked_value(self, predictions: Predictions, whose: str, rows: str) -> float:
        """Compute it, and make sure that it says something.

        Args:
            predictions: What is measured.
            whose: The model's name, for messages.
            rows: Which rows these are, for messages.

        Raises:
            RegistryError: If it cannot be computed, or is no number.
        """
        self._check_classes(predictions, rows)
        try:
            found = self.value(predictions)
        except RegistryError:
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {error}".rstrip(".")
            msg = f"{self.name} of {whose} cannot be computed on {rows}: {why}. Nothing was decided."
            raise RegistryError(msg) from error
        if not math.isfinite(found):
            msg = f"{self.name} of {whose} is {found} on {rows}: nothing can be decided by that. Other rows?"
            raise RegistryError(msg)
        return found

    def _check_classes(self, predictions: Predictions, rows: str) -> None:
        classes = predictions.classes
        if self.is_binary and len(classes) != _TWO:
            others = [name for name in built_in() if name.startswith(f"{self.name}_")]
            remedy = f"Take {' or '.join(others)}." if others and len(classes) > _TWO else ""
            msg = f"{self.name} is about two classes, and here are {describe_classes(classes)}. {remedy}"
            raise RegistryError(msg.rstrip())
        if self.needs_contrast and len(set(predictions.truth.tolist())) < _TWO:
            (only,) = set(predictions.truth.tolist())
            msg = f"{self.name} says nothing on {rows}: all are of the class {only!r}. Take other rows, or accuracy."
            raise RegistryError(msg)

    def _given(self, predictions: Predictions) -> Mapping[str, Any]:
        if self.is_binary and self.function != "roc_auc_score":
            return {**self.options, "pos_label": predictions.classes[1]}
        if self.kind == "probabilities":
            return {**self.options, "labels": predictions.classes}
        return self.options


def resolve(name: str, own: Mapping[str, Own]) -> Metric:
    """Return the metric of a name: the user's own, or scikit-learn's.

    Raises:
        RegistryError: If there is none, with the nearest.
    """
    if name in own:
        given = own[name]
        wrapped = given if isinstance(given, OwnMetric) else OwnMetric(given)
        return Metric(name, wrapped.higher_is_better, wrapped.function)
    known = built_in()
    for each in (name, _SHORT.get(name, name), re.sub(r"_(score|loss)$", "", name)):
        if each in known:
            return known[each]
    if name.removeprefix("neg_") in known:
        msg = f"Write {name.removeprefix('neg_')!r} for {name!r}: a gate knows that a lower value of it is better."
        raise RegistryError(msg)
    hint = did_you_mean(name, [*own, *known], most=2) or f"There are {listed(known, 100)}."
    msg = f"Nobody can compute the metric {name!r}. {hint} A function of your own goes into metrics={{{name!r}: ...}}."
    raise RegistryError(msg)


@cache
def built_in() -> Mapping[str, Metric]:
    """Return the metrics that have a name."""
    return {each.name: each for each in (*_of_classes(), *_of_probabilities(), *_of_numbers())}


def _of_classes() -> Iterator[Metric]:
    yield Metric("accuracy", True, "accuracy_score")  # noqa: FBT003 - in all of these: whether a higher one is better
    for name, function in (
        ("balanced_accuracy", "balanced_accuracy_score"),
        ("cohen_kappa", "cohen_kappa_score"),
        ("matthews_corrcoef", "matthews_corrcoef"),
    ):
        yield Metric(name, True, function, needs_contrast=True)  # noqa: FBT003
    for name in ("f1", "jaccard", "precision", "recall"):
        function, options = f"{name}_score", {"zero_division": 0.0}
        yield Metric(name, True, function, options=options, is_binary=True, needs_contrast=True)  # noqa: FBT003
        for average in _AVERAGES:
            averaged = {**options, "average": average}
            yield Metric(f"{name}_{average}", True, function, options=averaged, needs_contrast=True)  # noqa: FBT003


def _of_probabilities() -> Iterator[Metric]:
    for name, function in (("average_precision", "average_precision_score"), ("roc_auc", "roc_auc_score")):
        yield Metric(name, True, function, "ranking", is_binary=True, needs_contrast=True)  # noqa: FBT003
    yield Metric("brier_score", False, "brier_score_loss", "positive", is_binary=True)  # noqa: FBT003
    yield Metric("log_loss", False, "log_loss", "probabilities")  # noqa: FBT003
    for how in ("ovo", "ovr"):
        options = {"multi_class": how}
        yield Metric(f"roc_auc_{how}", True, "roc_auc_score", "probabilities", options, needs_contrast=True)  # noqa: FBT003


def _of_numbers() -> Iterator[Metric]:
    for name, function in (("explained_variance", "explained_variance_score"), ("r2", "r2_score")):
        yield Metric(name, True, function, "numbers")  # noqa: FBT003
    for name in (
        *("max_error", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error"),
        *("mean_squared_log_error", "median_absolute_error", "root_mean_squared_error"),
    ):
        yield Metric(name, False, name, "numbers")  # noqa: FBT003


def _arguments(function: Callable[..., float], predictions: Predictions) -> list[Any]:
    """Return what a function of the user's is given: the probabilities only if it takes them."""
    given = [predictions.truth, predictions.predicted]
    return [*given, predictions.of_kind("probabilities", "the function")] if takes_probabilities(function) else given


def takes_probabilities(function: Callable[..., float]) -> bool:
    """Tell whether a function wants a third argument; one that has a default does so if it is called ``y_proba``."""
    try:
        takes = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # written in C
        return False
    places = [each for each in takes if each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD}]
    return any(each.default is each.empty or each.name == "y_proba" for each in places[2:3])
