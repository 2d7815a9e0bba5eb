"""What one call has used, as it comes in: a line for each answer, priced when it is asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal

from flowml.store.usage.prices import cost_of
from flowml.store.usage.sums import Tokens, Usage, named

_MOST = 10_000  # answers that are kept one by one


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a model: those that are alike are counted together."""

    model: str | None
    provider: str | None
    tokens: Tokens
    told: Decimal | None = None


class Spent:
    """Takes answers from any thread; without a lock, which a fork could leave held."""

    __slots__ = ("_added", "_answers")

    def __init__(self) -> None:
        self._answers: list[Answer] = []
        self._added: list[Usage] = []

    def __bool__(self) -> bool:
        return bool(self._answers or self._added)

    def take(self, answer: Answer) -> None:
        """Count an answer."""
        self._answers.append(answer)
        if len(self._answers) > _MOST:
            self.usage()

    def add(self, other: Usage) -> None:
        """Count what was called inside."""
        if other:
            self._added.append(other)

    def usage(self) -> Usage:
        """Return all of it, with its cost."""
        answers, self._answers = self._answers, []
        for answer, count in Counter(answers).items():
            model = named(answer.model)
            cost = cost_of(model, answer.provider, answer.tokens, answer.told)
            self._added.append(Usage({model: replace(answer.tokens, cost=cost).times(count)}))
        added, self._added = self._added, []
        total = sum(added, Usage())
        self.add(total)
        return total
