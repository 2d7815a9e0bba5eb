"""What a model says about some rows: classes, their probabilities, or numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from flowml.errors import RegistryError

if TYPE_CHECKING:
    import numpy as np

Kind: TypeAlias = Literal["labels", "probabilities", "positive", "ranking", "numbers"]
"""What a metric compares with the truth.

Classes; the probability of each, or of the positive one; scores that order the rows by it; or numbers.
"""

_TWO = 2
_SHOWN = 5  # classes that a message lists


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says about rows whose truth is known.

    Attributes:
        truth: The true values.
        numbers: What the model returned.
        predicted: The classes that it means; the same, if it returned classes or numbers.
        classes: All classes, in order, of the truth and of both models that are compared.
        probabilities: Of each class, in that order; None if the model knows none.
        scores: What orders the rows by the second class, of a model that knows no probabilities.
        whose: The model, for messages.
    """

    truth: np.ndarray[Any, Any]
    numbers: np.ndarray[Any, Any]
    predicted: np.ndarray[Any, Any]
    classes: np.ndarray[Any, Any]
    probabilities: np.ndarray[Any, Any] | None
    scores: np.ndarray[Any, Any] | None
    whose: str

    def at(self, rows: np.ndarray[Any, Any]) -> Predictions:
        """Return those of some rows, by position; one may be there several times."""
        return replace(
            self,
            truth=self.truth[rows],
            numbers=self.numbers[rows],
            predicted=self.predicted[rows],
            probabilities=None if self.probabilities is None else self.probabilities[rows],
            scores=None if self.scores is None else self.scores[rows],
        )

    def of_kind(self, kind: Kind, metric: str) -> np.ndarray[Any, Any]:
        """Return what a metric compares with the truth.

        Raises:
            RegistryError: If the model does not know it.
        """
        if kind == "labels":
            return self.predicted
        if kind == "numbers":
            return self.numbers
        if kind == "ranking" and self.probabilities is None and self.scores is not None:
            return self.scores
        if self.probabilities is None:
            msg = (
                f"{metric} needs the probabilities of classes, and {self.whose} tells none: it has no predict_proba. "
                "Take a metric of classes, such as accuracy or f1."
            )
            raise RegistryError(msg)
        return self.probabilities if kind == "probabilities" else self.probabilities[:, 1]

    def is_as(self, other: Predictions) -> bool:
        """Tell whether another model says the very same."""
        import numpy as np

        pairs = [(self.numbers, other.numbers), (self.predicted, other.predicted), (self.scores, other.scores)]
        pairs.append((self.probabilities, other.probabilities))
        return all(
            one is two or (one is not None and two is not None and np.array_equal(one, two)) for one, two in pairs
        )


def predict(model: Any, table: Any, truth: np.ndarray[Any, Any], whose: str) -> Predictions:
    """Ask a model about rows.

    Args:
        model: The model; it has ``predict``, perhaps ``predict_proba`` or ``decision_function``, and ``classes_``.
        table: The rows, with the columns that it takes.
        truth: The true values.
        whose: The model's name, for messages.

    Raises:
        RegistryError: If it cannot say anything about these rows.
    """
    import numpy as np

    try:
        numbers = np.asarray(model.predict(table))
        known = getattr(model, "classes_", None)
        probabilities = model.predict_proba(table) if hasattr(model, "predict_proba") else None
        has_scores = probabilities is None and hasattr(model, "decision_function")
        scores = np.asarray(model.decision_function(table)) if has_scores else None
    except Exception as error:
        msg = f"{whose} cannot predict these rows: {type(error).__name__}: {error} Nothing was decided."
        raise RegistryError(msg) from error
    numbers = numbers.reshape(-1) if numbers.ndim == _TWO and numbers.shape[1] == 1 else numbers
    if len(numbers) != len(truth):
        msg = f"{whose} returned {len(numbers):,} predictions for {len(truth):,} rows. Nothing was decided."
        raise RegistryError(msg)
    own = np.asarray(known) if known is not None and np.ndim(known) == 1 else None
    classes = _united(truth, own, whose)
    if isinstance(probabilities, np.ndarray) and own is not None and probabilities.shape[1] == len(own):
        probabilities = _in_order(probabilities, own, classes)
    elif (told := _as_probabilities(numbers, classes)) is not None:
        probabilities = told
    else:
        probabilities = None
    is_told = own is None and probabilities is not None
    predicted = classes[probabilities.argmax(axis=1)] if is_told and probabilities is not None else numbers
    scores = scores if scores is not None and scores.ndim == 1 else None
    return Predictions(truth, numbers, predicted, classes, probabilities, scores, whose)


def with_the_same_classes(one: Predictions, two: Predictions) -> tuple[Predictions, Predictions]:
    """Let two models speak of the same classes: one may know some that the other was never shown."""
    import numpy as np

    if np.array_equal(one.classes, two.classes):
        return one, two
    classes = np.union1d(one.classes, two.classes)
    first, second = (_widened(each, classes) for each in (one, two))
    return first, second


def _widened(told: Predictions, classes: np.ndarray[Any, Any]) -> Predictions:
    wide = None if told.probabilities is None else _in_order(told.probabilities, told.classes, classes)
    return replace(told, classes=classes, probabilities=wide)


def _in_order(
    probabilities: np.ndarray[Any, Any], own: np.ndarray[Any, Any], classes: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Put a column for each class; one that the model does not know has no probability."""
    import numpy as np

    wide = np.zeros((len(probabilities), len(classes)))
    wide[:, np.searchsorted(classes, own)] = probabilities
    return wide


def _as_probabilities(numbers: np.ndarray[Any, Any], classes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """Read what a model without classes returned as probabilities, if it is that: of each class, or of the second."""
    import numpy as np

    if numbers.dtype.kind != "f" or len(classes) < _TWO:
        return None
    is_share = bool(np.all((numbers >= 0) & (numbers <= 1)))
    if numbers.ndim == _TWO and numbers.shape[1] == len(classes) and is_share:
        return numbers
    is_of_two = numbers.ndim == 1 and len(classes) == _TWO and classes.dtype.kind in "biuf"
    if is_of_two and is_share and classes.tolist() == [0, 1] and not np.isin(numbers, (0.0, 1.0)).all():
        return np.column_stack([1 - numbers, numbers])
    return None


def _united(truth: np.ndarray[Any, Any], own: np.ndarray[Any, Any] | None, whose: str) -> np.ndarray[Any, Any]:
    import numpy as np

    if own is None:
        return np.unique(truth)
    if (truth.dtype.kind in "OUT") != (own.dtype.kind in "OUT"):
        msg = (
            f"The target holds {describe_classes(np.unique(truth))}, and {whose} predicts {describe_classes(own)}: "
            "one is text, the other is not. Give the target as the model was taught it."
        )
        raise RegistryError(msg)
    return np.union1d(truth, own)


def describe_classes(classes: np.ndarray[Any, Any]) -> str:
    """Say which classes there are."""
    shown = ", ".join(repr(each) for each in classes[:_SHOWN].tolist())
    return f"{len(classes):,} classes ({shown}{', …' if len(classes) > _SHOWN else ''})"
