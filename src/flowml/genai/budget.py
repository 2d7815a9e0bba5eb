"""What the judges of an evaluation may ask, and cost: they stop before it is more."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from flowml.locks import RLock
from flowml.store.usage.sums import Usage, dollars


@dataclass(frozen=True, slots=True)
class Budget:
    """How much the language models that judge answers may be asked, and cost, in one evaluation.

    When it is used up, they are not asked any more: the rest of the rows is not scored by them, which the evaluation
    says. Judges run side by side: a cost may be passed by what calls at that moment cost beyond the dearest before
    them; a number of calls is not.

    Args:
        max_calls: How often they are asked at most.
        max_cost: What they cost at most, in US dollars; it needs models whose prices are known.

    Raises:
        TypeError: If one has the wrong type.
        ValueError: If there is no limit, or one that is none.

    Example:
        >>> Budget(max_calls=200, max_cost="0.50")
        Budget(max_calls=200, max_cost=Decimal('0.50'))
    """

    max_calls: int | None = None
    max_cost: Decimal | float | str | None = None

    def __post_init__(self) -> None:
        calls, cost = self.max_calls, self.max_cost
        if calls is None and cost is None:
            msg = "Budget() limits nothing: give max_calls=, max_cost=, or both."
            raise ValueError(msg)
        if calls is not None and (isinstance(calls, bool) or not isinstance(calls, int)):
            msg = f"Budget(max_calls=...) takes a whole number, not {calls!r}."
            raise TypeError(msg)
        if calls is not None and calls < 0:
            msg = f"Budget(max_calls=...) cannot be {calls!r}: 0 is the least."
            raise ValueError(msg)
        if cost is not None:
            object.__setattr__(self, "max_cost", _amount(cost))


class Purse:
    """What is left of a budget, while judges are at work side by side.

    Args:
        budget: The budget; None limits nothing.

    Attributes:
        calls: How often models were asked.
        used: What they used.
        stopped: Why they are not asked any more; empty as long as they are.
    """

    def __init__(self, budget: Budget | None) -> None:
        self._budget = budget
        self._lock = RLock()
        self._reserved = 0  # calls that are at work
        self._dearest = Decimal(0)  # what one call has cost at most: each that is at work may cost as much
        self.calls = 0
        self.used = Usage()
        self.stopped = ""

    def reserve(self) -> bool:
        """Take a call out of it; false if there is none left, or it is not known what is."""
        with self._lock:
            budget = self._budget
            if budget is None:
                return True
            if not self.stopped:
                self.stopped = self._reason(budget)
            if self.stopped:
                return False
            self._reserved += 1
            return True

    def _reason(self, budget: Budget) -> str:
        if budget.max_calls is not None and self.calls + self._reserved >= budget.max_calls:
            return f"max_calls={budget.max_calls} is used up"
        if budget.max_cost is None:
            return ""
        limit = Decimal(budget.max_cost)
        if self.used.unpriced:
            names = ", ".join(self.used.unpriced)
            return f"max_cost={dollars(limit)} cannot be kept: no price is known for {names} (set tool.flowml.prices)"
        if self.used.known_cost + self._reserved * self._dearest >= limit:
            return f"max_cost={dollars(limit)} is used up"
        return ""

    def pay(self, used: Usage, *, calls: int, was_reserved: bool) -> None:
        """Take out what a call has used.

        Args:
            used: Its tokens and cost.
            calls: How often it asked a model.
            was_reserved: Whether it was taken out before.
        """
        with self._lock:
            if was_reserved and self._budget is not None:
                self._reserved -= 1
            self.calls += calls
            self.used += used
            self._dearest = max(self._dearest, used.known_cost)


def _amount(cost: object) -> Decimal:
    if isinstance(cost, bool) or not isinstance(cost, Decimal | int | float | str):
        msg = f"Budget(max_cost=...) takes US dollars, such as 0.5, not {cost!r}."
        raise TypeError(msg)
    try:
        amount = Decimal(str(cost))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        msg = f"Budget(max_cost=...) takes US dollars, such as 0.5, not {cost!r}."
        raise ValueError(msg)
    return amount
