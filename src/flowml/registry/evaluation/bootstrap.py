"""How sure a difference between two models is, by drawing the rows anew many times.

Both models are measured on the same rows of each draw, so that what is hard for both counts for neither. Rows are drawn
within each class, as is usual for the area under a ROC curve (Robin et al., "pROC", BMC Bioinformatics 12:77, 2011): a
draw without one class would have no value. The interval is ``scipy.stats.bootstrap``'s. Where there are few rows it is
bias-corrected and accelerated (Efron, "Better Bootstrap Confidence Intervals", JASA 82, 1987); else it is between
percentiles, which need no further measurement for each row (Efron and Tibshirani, "An Introduction to the Bootstrap",
1993, chapters 13 and 14).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from flowml.errors import RegistryError

if TYPE_CHECKING:
    import numpy as np

    from flowml.registry.evaluation.metrics import Metric
    from flowml.registry.evaluation.predictions import Predictions

SEED = 20_251
"""Always the same: a gate that is asked twice says the same, and whoever has the rows can compute it again."""

_FEW = 500  # rows: the bias-corrected interval measures once more for each
_LEAST = 2  # rows that can be drawn from


@dataclass(frozen=True, slots=True)
class Interval:
    """Between what a difference is.

    Attributes:
        low: The lower end.
        high: The higher end.
        method: How it was found: ``BCa``, ``percentile``, or ``equal`` for two models that say the very same.
    """

    low: float
    high: float
    method: Literal["BCa", "percentile", "equal"]


def interval(
    metric: Metric, candidate: Predictions, champion: Predictions | None, *, confidence: float, resamples: int
) -> Interval:
    """Find the interval of the difference between two models in one metric, or of the metric of one alone.

    Args:
        metric: The metric.
        candidate: What one says about the rows.
        champion: What the other says about the same rows; None for one alone.
        confidence: How sure it is to hold the difference.
        resamples: How often the rows are drawn.

    Raises:
        RegistryError: If there are too few rows, or the metric has no value on a draw.
    """
    import numpy as np
    from scipy import stats

    if champion is not None and candidate.is_as(champion):
        return Interval(0.0, 0.0, "equal")
    if len(candidate.truth) < _LEAST:
        msg = f"From {len(candidate.truth)} row nothing can be drawn to see how sure {metric.name} is. Take more rows."
        raise RegistryError(msg)
    strata, method = _strata(metric, candidate), "BCa" if len(candidate.truth) <= _FEW else "percentile"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a draw that always gives the same has no acceleration: that is seen below
        try:
            found = stats.bootstrap(
                strata,
                partial(_difference, metric, candidate, champion),
                vectorized=False,
                n_resamples=resamples,
                confidence_level=confidence,
                method=method,
                random_state=np.random.default_rng(SEED),
            )
        except RegistryError:
            raise
        except Exception as error:
            msg = f"{metric.name} has no value on rows drawn anew: {type(error).__name__}: {error}"
            raise RegistryError(msg) from error
    drawn, ends = found.bootstrap_distribution, found.confidence_interval
    if not np.isfinite(drawn).all():
        msg = f"{metric.name} has no value on some rows drawn anew: nobody knows how sure it is. Take more rows."
        raise RegistryError(msg)
    if math.isfinite(ends.low) and math.isfinite(ends.high):
        return Interval(float(ends.low), float(ends.high), "BCa" if method == "BCa" else "percentile")
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high), "percentile")


def _difference(
    metric: Metric, candidate: Predictions, champion: Predictions | None, *drawn: np.ndarray[Any, Any]
) -> float:
    import numpy as np

    rows = np.concatenate(drawn)
    return metric.value(candidate.at(rows)) - (metric.value(champion.at(rows)) if champion is not None else 0.0)


def _strata(metric: Metric, told: Predictions) -> list[np.ndarray[Any, Any]]:
    """Return the positions of the rows that are drawn from together: those of each class, or all."""
    import numpy as np

    is_own = not isinstance(metric.function, str)
    if metric.kind == "numbers" or (is_own and told.probabilities is None):
        return [np.arange(len(told.truth))]
    found = [np.flatnonzero(told.truth == each) for each in np.unique(told.truth)]
    enough = [rows for rows in found if len(rows) >= _LEAST]
    alone = np.array([rows[0] for rows in found if len(rows) < _LEAST], dtype=int)
    if len(alone) >= _LEAST or not enough:  # of a row that is drawn each time nobody would see how much depends on it
        return [*enough, alone] if len(alone) else enough
    return [np.concatenate([enough[0], alone]), *enough[1:]]
