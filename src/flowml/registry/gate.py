"""The gate: is a candidate good enough, and better than the champion?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefect.cache_policies import NO_CACHE

from flowml.decorators import task
from flowml.options import Track
from flowml.registry import recording
from flowml.registry.evaluation import by_scores
from flowml.registry.evaluation.bootstrap import SEED
from flowml.registry.evaluation.columns import table_for
from flowml.registry.evaluation.contenders import Arena, Contender
from flowml.registry.evaluation.judging import Judge, metrics_of
from flowml.registry.evaluation.metrics import Own, OwnMetric
from flowml.registry.evaluation.predictions import Predictions, predict, with_the_same_classes
from flowml.registry.evaluation.question import question_of
from flowml.registry.evaluation.rows import rows_of
from flowml.registry.evidence import Verdict
from flowml.registry.rules import ALL, Rule
from flowml.store.ledger.ledger import EXPERIMENT
from flowml.store.registered.references import ModelRef, parse

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_LEAST = 100  # draws, by which an interval says anything


@task(name="gate", track=Track(inputs=False, outputs=False, experiment=EXPERIMENT), cache_policy=NO_CACHE)
def gate(  # noqa: PLR0913 - each by its name
    candidate: Any,
    data: Any = None,
    target: str = "",
    *,
    rules: Sequence[Rule],
    against: Any = None,
    metrics: Mapping[str, Own] | None = None,
    resamples: int = 1000,
) -> Verdict:
    """Decide by rules whether a candidate is good enough, and better than the champion on the same rows.

    It is a task: the decision has a run in MLflow with its evidence, a page in Prefect, and an entry in the history of
    the registered model. The first model, for which there is no champion yet, has to meet `AtLeast` and `AtMost` alone.
    Where the code of the same flow run runs again, because it is tried again or was suspended, the same question about
    the same candidate and rows has the same answer: the candidate, which may be champion already, is not compared anew.

    Args:
        candidate: The model itself, a version (``"churn/7"``, ``"churn@challenger"``, a `ModelVersion`, or a number
            alone, of the model that ``against`` names), or a logged model (``"models:/m-…"``). Or an `Evaluation`,
            whose scores the rules are about.
        data: The rows on which both models are evaluated, with the target: a pandas frame, or what can be made one.
            Evaluations have theirs.
        target: The target's column.
        rules: What is asked: `AtLeast`, `AtMost`, `Better`, `NotWorse`, `Significant`.
        against: The champion: ``"churn@champion"``, ``"churn/6"`` or a model; of an evaluation another one, on the same
            rows. None: there is none.
        metrics: Functions of your own by name, called with the true values, the predictions and, if they take a third
            argument, the probabilities; of a plain one a higher value is better, see `OwnMetric`.
        resamples: How often the rows are drawn anew to see how sure a difference is.

    Returns:
        The verdict; it is true if no rule failed.

    Raises:
        RegistryError: If nothing can be decided: no such model, column or metric, no rows, a model that does not load.
        TypeError: If an argument has the wrong type.
        TrackingError: If MLflow cannot be reached.

    Example:
        >>> verdict = flowml.gate(model, test, "churned", against="churn@champion", rules=[Better("roc_auc", by=0.002)])
        >>> if verdict: ...
    """
    own = _checked(rules, metrics, resamples)
    if by_scores.is_scored(candidate):
        return _by_scores(candidate, data, rules, against, own, resamples)
    if data is None or not target:
        msg = "gate(candidate, data, target, rules=...) needs the rows and the target's column to compare models on."
        raise TypeError(msg)
    computed = metrics_of(rules, own)
    table, truth = rows_of(data, target)
    trail = recording.begin()
    with Arena(trail.connection) as arena:
        model = _model_of(against)
        champion, alone = arena.champion(against)
        contender = arena.candidate(candidate, model)
        model = model or contender.name
        question = question_of(
            contender,
            data,
            rules=rules,
            against=against,
            metrics=own,
            drawn={"target": target, "resamples": resamples, "seed": SEED},
            hidden=trail.hidden,
        )
        if earlier := trail.earlier(model, question):
            return earlier
        if champion is None and against is not None:
            trail.log.warning("flowml: the gate applies absolute rules only: %s.", alone)
        first, second = _predictions(contender, champion, table, target, truth)
    judge = Judge(table, computed, first, second, alone, resamples)
    results = tuple(judge.result(rule) for rule in rules)
    verdict = Verdict(
        passed=all(each.verdict != "failed" for each in results),
        results=results,
        model=model,
        candidate=contender.called(model),
        champion=champion.called(model) if champion else None,
        alone=alone,
        rows=len(table),
    )
    return trail.write(verdict, question)


def _by_scores(  # noqa: PLR0913, PLR0917 - as `gate` was given them
    candidate: by_scores.Scored, data: Any, rules: Sequence[Rule], against: Any, own: Mapping[str, Own], resamples: int
) -> Verdict:
    """Decide about an evaluation."""
    if data is not None:
        msg = "gate(evaluation, rules=...) takes no data: the evaluation has its rows."
        raise TypeError(msg)
    champion = by_scores.champion_of(against)
    trail, contender = recording.begin(), by_scores.contender_of(candidate)
    drawn = {"target": "the scores of evaluations", "resamples": resamples, "seed": SEED}
    question = by_scores.question_of(candidate, champion, contender, rules, drawn)
    model = contender.name
    if earlier := trail.earlier(model, question):
        return earlier
    if champion is None and any(rule.is_relative for rule in rules):
        trail.log.warning("flowml: the gate applies absolute rules only: %s.", by_scores.ALONE)
    results = by_scores.results_of(candidate, champion, rules, own, resamples)
    before = by_scores.contender_of(champion) if champion else None
    verdict = Verdict(
        passed=all(each.verdict != "failed" for each in results),
        results=results,
        model=model,
        candidate=contender.called(model),
        champion=before.called(model) if before else None,
        alone="" if champion else by_scores.ALONE,
        rows=len(candidate.rows.keys),
    )
    return trail.write(verdict, question)


def _predictions(
    candidate: Contender, champion: Contender | None, table: pd.DataFrame, target: str, truth: np.ndarray[Any, Any]
) -> tuple[Predictions, Predictions | None]:
    """Ask both about the same rows."""

    def told(by: Contender) -> Predictions:
        rows = table_for(by.model, by.signature, table, target, by.whose)
        return predict(by.model, rows, truth, by.whose)

    first = told(candidate)
    return with_the_same_classes(first, told(champion)) if champion else (first, None)


def _model_of(against: Any) -> str | None:
    """Return the registered model that the champion is named as a version of."""
    if isinstance(against, str) and against.removeprefix("models:/").startswith("m-"):
        return None
    if isinstance(against, str | tuple | ModelRef):
        return parse(against).model
    is_model = callable(getattr(against, "predict", None))
    name, version = getattr(against, "name", None), getattr(against, "version", None)
    return str(name) if name and version and not is_model else None


def _checked(rules: Sequence[Rule], metrics: Mapping[str, Own] | None, resamples: int) -> Mapping[str, Own]:
    """Make sure that the arguments are what they should be; return the user's own metrics.

    Raises:
        TypeError: If one has the wrong type.
        ValueError: If one has a value that makes no sense.
    """
    if isinstance(rules, Rule) or not isinstance(rules, Sequence) or not all(isinstance(one, Rule) for one in rules):
        wrong = next((one for one in rules if not isinstance(one, Rule)), rules) if isinstance(rules, list) else rules
        msg = f"gate(rules=...) takes a list of {', '.join(kind.__name__ for kind in ALL)}, not {wrong!r}."
        raise TypeError(msg)
    if not rules:
        msg = 'gate(rules=[]) asks nothing, and would pass anything. Give a rule, such as Better("roc_auc").'
        raise ValueError(msg)
    for name, function in (metrics or {}).items():
        if not isinstance(name, str) or not (callable(function) or isinstance(function, OwnMetric)):
            msg = f"gate(metrics=...) takes functions by name, not {name!r}: {function!r}."
            raise TypeError(msg)
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < _LEAST:
        msg = f"gate(resamples=...) takes a whole number from {_LEAST}, not {resamples!r}."
        raise ValueError(msg)
    return metrics or {}
