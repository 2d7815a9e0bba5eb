"""A gate about evaluations: rules applied to the scores of single rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

from flowml.errors import RegistryError
from flowml.registry.evaluation import scored
from flowml.registry.evaluation.contenders import Contender
from flowml.registry.evaluation.judging import Judge
from flowml.registry.evaluation.metrics import Own
from flowml.registry.evaluation.question import Question
from flowml.registry.evaluation.scored import ScoredRows
from flowml.registry.evidence import Result, digest_of
from flowml.registry.rules import Rule
from flowml.store.registered.references import target as named_target

ALONE = "there is nothing to compare with: no against= was given"


@runtime_checkable
class Scored(Protocol):
    """An evaluation.

    Attributes:
        rows: Its rows and their scores.
        of: What was evaluated: a version of a prompt or a model; empty if that was not said.
    """

    rows: ScoredRows
    of: str


def is_scored(given: object) -> TypeGuard[Scored]:
    """Tell whether what is given to a gate is an evaluation, not a model."""
    return isinstance(getattr(given, "rows", None), ScoredRows)


def contender_of(one: Scored) -> Contender:
    """Return what was evaluated, as a gate knows whom it is about."""
    if not one.of:
        return Contender(None, one.rows.whose, digest=one.rows.digest)
    name, version = named_target(one.of)
    return Contender(None, one.of, name=name, version=str(version), digest=one.rows.digest)


def champion_of(against: Any) -> Scored | None:
    """Return the evaluation that another is compared with.

    Raises:
        RegistryError: If it is none.
    """
    if against is None or is_scored(against):
        return against
    msg = (
        f"against={against!r} is no evaluation, and an evaluation is compared with one: evaluate it on the same rows "
        "first, and give what flowml.evaluate returned."
    )
    raise RegistryError(msg)


def results_of(
    candidate: Scored, champion: Scored | None, rules: Sequence[Rule], own: Mapping[str, Own], resamples: int
) -> tuple[Result, ...]:
    """Apply the rules.

    Raises:
        RegistryError: If nothing can be decided: no such scorer, other rows, rows without a score.
    """
    one = candidate.rows
    if champion is not None and set(champion.rows.keys) != set(one.keys):
        shared = len(set(champion.rows.keys) & set(one.keys))
        msg = (
            f"{one.whose} and {champion.rows.whose} were evaluated on other rows: of {len(one.keys):,} and "
            f"{len(champion.rows.keys):,} they share {shared:,}. Evaluate both on the same. Nothing was decided."
        )
        raise RegistryError(msg)
    return tuple(_result(rule, one, champion.rows if champion else None, own, resamples) for rule in rules)


def _result(rule: Rule, one: ScoredRows, other: ScoredRows | None, own: Mapping[str, Own], resamples: int) -> Result:
    metric = scored.measure(rule.metric, own)
    mine = scored.told(one.of(rule.metric), one.whose)
    theirs = None
    if other is not None:
        theirs = scored.told(other.of(rule.metric)[other.at(one.keys)], other.whose)
    judge = Judge(one.rows, {rule.metric: metric}, mine, theirs, "" if other else ALONE, resamples)
    return judge.result(rule)


def question_of(
    candidate: Scored, champion: Scored | None, contender: Contender, rules: Sequence[Rule], drawn: Mapping[str, Any]
) -> Question:
    """Put the question, so that an earlier attempt that was asked the same is known again."""
    told = [candidate.rows.digest, champion.rows.digest if champion else None, [str(rule) for rule in rules], drawn]
    return Question(contender, None, drawn, digest_of(json.dumps(told, sort_keys=True, default=str)))
