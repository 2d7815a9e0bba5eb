"""Rules, applied to what two models say about the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowml.registry.evaluation.bootstrap import Interval, interval
from flowml.registry.evaluation.metrics import Metric, Own, resolve
from flowml.registry.evaluation.rows import selected
from flowml.registry.evidence import NOT_APPLICABLE, Result
from flowml.registry.rules import Measured, Rule

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from flowml.registry.evaluation.predictions import Predictions


@dataclass(frozen=True, slots=True)
class Judge:
    """Applies rules; what two of them ask is measured once.

    Attributes:
        data: The rows, numbered from 0.
        metrics: The metric of each name that a rule has.
        candidate: What the candidate says about the rows.
        champion: What the champion says about them; None if there is none.
        alone: Why there is no champion.
        resamples: How often the rows are drawn anew.
    """

    data: pd.DataFrame
    metrics: Mapping[str, Metric]
    candidate: Predictions
    champion: Predictions | None
    alone: str
    resamples: int
    _rows: dict[str | None, np.ndarray[Any, Any]] = field(default_factory=dict)
    _intervals: dict[tuple[str, str | None, float], Interval] = field(default_factory=dict)

    def result(self, rule: Rule) -> Result:
        """Apply one rule.

        Raises:
            RegistryError: If nothing can be said.
        """
        rows, metric = self._selected(rule.where), self.metrics[rule.metric]
        told = f"the {len(rows):,} rows where {rule.where}" if rule.where else f"the {len(rows):,} rows"
        candidate = self.candidate.at(rows)
        value = metric.checked_value(candidate, self.candidate.whose, told)
        if self.champion is None:
            measured = Measured(value, None, metric.higher_is_better)
            judged = (None, self.alone) if rule.is_relative else rule.judge(measured)
            return _result(rule, len(rows), measured, judged, None)
        champion = self.champion.at(rows)
        its_value = metric.checked_value(champion, self.champion.whose, told)
        found = self._interval(rule, metric, candidate, champion) if rule.is_relative else None
        ends = (found.low, found.high) if found else None
        measured = Measured(value, its_value, metric.higher_is_better, ends)
        return _result(rule, len(rows), measured, rule.judge(measured), found)

    def _interval(self, rule: Rule, metric: Metric, candidate: Predictions, champion: Predictions) -> Interval:
        key = metric.name, rule.where, rule.confidence
        if key not in self._intervals:
            self._intervals[key] = interval(
                metric, candidate, champion, confidence=rule.confidence, resamples=self.resamples
            )
        return self._intervals[key]

    def _selected(self, where: str | None) -> np.ndarray[Any, Any]:
        if where not in self._rows:
            self._rows[where] = selected(self.data, where)
        return self._rows[where]


def metrics_of(rules: Sequence[Rule], own: Mapping[str, Own]) -> dict[str, Metric]:
    """Find the metric that each rule is about, before anything is loaded.

    Raises:
        RegistryError: If there is none of that name.
    """
    return {rule.metric: resolve(rule.metric, own) for rule in rules}


def _result(
    rule: Rule, rows: int, measured: Measured, judged: tuple[bool | None, str], found: Interval | None
) -> Result:
    is_met, reason = judged
    return Result(
        rule=str(rule),
        metric=rule.metric,
        where=rule.where,
        rows=rows,
        candidate=measured.candidate,
        champion=measured.champion,
        difference=measured.difference,
        interval=measured.interval,
        method=found.method if found else None,
        verdict=NOT_APPLICABLE if is_met is None else "passed" if is_met else "failed",
        reason=reason,
    )
