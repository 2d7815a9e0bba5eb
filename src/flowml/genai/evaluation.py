"""What came of an evaluation: scores with their intervals, the rows, what was left out and why; and how two compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowml.errors import EvaluationError, listed
from flowml.formats import number
from flowml.records import CurrentRun
from flowml.registry.evaluation import scored
from flowml.registry.evaluation.scored import ScoredRows
from flowml.store.usage.sums import Usage

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Drawn:
    """How intervals are found.

    Attributes:
        confidence: How sure they are.
        resamples: How often rows are drawn anew.
    """

    confidence: float
    resamples: int


@dataclass(frozen=True, slots=True)
class Score:
    """One scorer's mean over all rows that it has scored.

    Attributes:
        name: The scorer's name, or that of a metric.
        mean: The mean; None if it has no numbers.
        interval: Between what the mean is; None where too few rows say.
        scored: How many rows it has scored.
        failed: On how many it failed, or the row's prediction did.
        unscored: How many it did not look at, because the budget was used up.
    """

    name: str
    mean: float | None
    interval: tuple[float, float] | None
    scored: int
    failed: int = 0
    unscored: int = 0

    def __str__(self) -> str:
        """Tell it in a line."""
        ends = f" ({number(self.interval[0])} to {number(self.interval[1])})" if self.interval else ""
        value = "no number" if self.mean is None else f"{number(self.mean)}{ends}"
        left = [f"{self.failed:,} failed"] if self.failed else []
        left += [f"{self.unscored:,} not scored"] if self.unscored else []
        return f"{self.name}: {value} on {self.scored:,} rows{''.join(f', {each}' for each in left)}"


@dataclass(frozen=True)
class Evaluation:
    """What came of `evaluate`; it can be compared with another, and a gate can decide by it.

    Attributes:
        name: What it is called.
        scores: The scores, by the scorer's name.
        table: A row for each row: its inputs, the answer, what was expected, each score, errors, its trace.
        of: What was evaluated: ``"prompts:/summarize/3"``, ``"churn/7"``; empty if that was not said.
        dataset: Name and digest of the rows in MLflow.
        failed_rows: How many predictions failed.
        stopped: Why judges were not asked any more; empty if they were.
        judges: What the judges used.
        judge_calls: How often they asked a model.
        run: The MLflow run that has it; None if it was not tracked.
    """

    name: str
    scores: Mapping[str, Score]
    table: pd.DataFrame = field(repr=False)
    rows: ScoredRows = field(repr=False)
    of: str = ""
    dataset: tuple[str, str] | None = None
    failed_rows: int = 0
    stopped: str = ""
    judges: Usage = field(default_factory=Usage)
    judge_calls: int = 0
    run: CurrentRun | None = None
    confidence: float = 0.95
    resamples: int = 1000

    @property
    def metrics(self) -> dict[str, float]:
        """The means, by the scorer's name."""
        return {name: score.mean for name, score in self.scores.items() if score.mean is not None}

    @property
    def is_complete(self) -> bool:
        """Whether each row was predicted, and scored by each scorer."""
        return not self.failed_rows and not any(score.failed or score.unscored for score in self.scores.values())

    def __str__(self) -> str:
        """Tell it in some lines: what was evaluated, each score, and what was left out."""
        of = f" of {self.of}" if self.of else ""
        lines = [f"{self.name}{of}: {len(self.table):,} rows", *(f"  {score}" for score in self.scores.values())]
        if self.failed_rows:
            lines.append(f"  {self.failed_rows:,} of {len(self.table):,} predictions failed, and count in no score")
        if self.stopped:
            lines.append(f"  the judges stopped: {self.stopped}")
        if self.judge_calls:
            lines.append(f"  judges: {self.judge_calls:,} calls, {self.judges}")
        return "\n".join(lines)

    def compare(self, other: Evaluation) -> Comparison:
        """Compare with another evaluation, on the rows that both have scored.

        Args:
            other: The one before, or the one of something else.

        Raises:
            EvaluationError: If they have no row, or no scorer, in common.
        """
        shared = tuple(key for key in self.rows.keys if key in set(other.rows.keys))
        names = [name for name in self.rows.scores if name in other.rows.scores]
        if not shared or not names:
            what, mine, theirs = (
                ("row", f"{len(self.rows.keys):,} rows", f"{len(other.rows.keys):,} others")
                if not shared
                else ("scorer", listed(self.rows.scores), listed(other.rows.scores))
            )
            msg = f"{self.name} and {other.name} have no {what} in common, and cannot be compared: {mine} and {theirs}."
            raise EvaluationError(msg)
        found = {name: each for name in names if (each := self._difference(other, name, shared)) is not None}
        return Comparison(self.name, other.name, found)

    def _difference(self, other: Evaluation, name: str, shared: tuple[str, ...]) -> Difference | None:
        import numpy as np

        one = self.rows.scores[name][self.rows.at(shared)]
        two = other.rows.scores[name][other.rows.at(shared)]
        both = np.isfinite(one) & np.isfinite(two)
        if not both.any():
            return None
        one, two = one[both], two[both]
        ends = scored.difference(name, one, two, confidence=self.confidence, resamples=self.resamples)
        pair = (ends.low, ends.high) if ends else None
        return Difference(name, float(one.mean()), float(two.mean()), pair, len(one))


@dataclass(frozen=True, slots=True)
class Difference:
    """One scorer's means of two evaluations, on the rows that both have.

    Attributes:
        name: The scorer's name.
        mean: The mean of the one that was asked.
        before: The mean of the other.
        interval: Between what the difference is; None where too few rows say.
        rows: On how many rows.
    """

    name: str
    mean: float
    before: float
    interval: tuple[float, float] | None
    rows: int

    @property
    def difference(self) -> float:
        """The mean less the other."""
        return self.mean - self.before

    @property
    def is_sure(self) -> bool:
        """Whether more than chance among the rows explains it."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)

    def __str__(self) -> str:
        """Tell it in a line."""
        ends = f", {self.interval[0]:+.4g} to {self.interval[1]:+.4g}" if self.interval else ""
        chance = "" if self.is_sure else ", which may be chance"
        values = f"{number(self.mean)} against {number(self.before)}"
        return f"{self.name}: {values} on {self.rows:,} rows ({self.difference:+.4g}{ends}{chance})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two evaluations differ.

    Attributes:
        name: The one that was asked.
        other: The other.
        differences: The differences, by the scorer's name.
    """

    name: str
    other: str
    differences: Mapping[str, Difference]

    def __getitem__(self, name: str) -> Difference:
        return self.differences[name]

    def __str__(self) -> str:
        """Tell it in some lines."""
        return "\n".join([f"{self.name} against {self.other}", *(f"  {each}" for each in self.differences.values())])

    def as_data(self) -> list[dict[str, Any]]:
        """Return it as plain values, a mapping for each scorer."""
        return [
            {
                "name": each.name,
                "mean": each.mean,
                "before": each.before,
                "difference": each.difference,
                "interval": list(each.interval) if each.interval else None,
                "is_sure": each.is_sure,
                "rows": each.rows,
            }
            for each in self.differences.values()
        ]
