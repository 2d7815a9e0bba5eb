"""Scorers as MLflow's harness calls them: in the task's context, within the budget, and what each call used."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from flowml.errors import EvaluationError
from flowml.genai.budget import Purse
from flowml.locks import RLock
from flowml.store.by_hand import active
from flowml.store.usage.prices import cost_of
from flowml.store.usage.spent import Spent
from flowml.store.usage.sums import Tokens, Usage, named

if TYPE_CHECKING:
    from mlflow.genai.scorers import Scorer

NOT_SCORED = "not scored: the budget of the judges: "
ROW_FAILED = "not scored: the prediction of this row failed"
_COST, _INPUT, _OUTPUT = (f"mlflow.assessment.judge{each}" for each in ("Cost", "InputTokens", "OutputTokens"))


def scorers_of(given: Iterable[Any]) -> list[Scorer]:
    """Make scorers of MLflow's of what the user gave: those that are, and plain functions.

    Raises:
        EvaluationError: If one is neither, or two have the same name.
    """
    from mlflow.genai.scorers import Scorer, scorer

    if isinstance(given, Scorer) or callable(given) or not isinstance(given, Iterable):
        given = [given]
    found: list[Scorer] = []
    for each in given:
        if isinstance(each, type) or not (isinstance(each, Scorer) or callable(each)):
            msg = (
                "evaluate(scorers=...) takes MLflow's scorers, and functions of inputs, outputs, expectations or "
                f"trace, not {each!r}."
            )
            raise EvaluationError(msg)
        if getattr(each, "__name__", "") == "<lambda>":
            msg = "A lambda cannot be a scorer: a score is called like its function. Write it with def."
            raise EvaluationError(msg)
        found.append(each if isinstance(each, Scorer) else scorer(each))
    names = [each.name for each in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        msg = f"Two scorers are called {twice[0]!r}: their scores could not be told apart. Give one another name."
        raise EvaluationError(msg)
    return found


class Scoring:
    """Lets scorers be called by MLflow's harness, in whichever thread.

    Args:
        purse: What judges may still ask.
        has_predicted: Whether the rows were predicted here, so that a trace with an error is a row that failed.
    """

    def __init__(self, purse: Purse, *, has_predicted: bool) -> None:
        self.purse = purse
        self._has_predicted = has_predicted
        self._session = active.here()
        self._asks: dict[str, bool] = {}  # whether a scorer asks a model: of a function that is seen when it does
        self._first = RLock()  # the first call of a function is waited for, to see that

    def guarded(self, scorer: Scorer) -> Scorer:
        """Return the scorer as the harness is given it."""
        from mlflow.genai.judges.base import Judge

        if isinstance(scorer, Judge):
            self._asks[scorer.name] = hasattr(scorer, "model")
        made, run = copy.copy(scorer), scorer.run

        def guarded_run(**given: Any) -> Any:
            return self._run(scorer, run, given)

        object.__setattr__(made, "run", guarded_run)
        return made

    def _run(self, scorer: Scorer, run: Callable[..., Any], given: Mapping[str, Any]) -> Any:
        trace = given.get("trace")
        if self._has_predicted and trace is not None and str(getattr(trace.info.state, "value", "")) == "ERROR":
            raise EvaluationError(ROW_FAILED)
        if scorer.name in self._asks:
            return _finite(self._paid(scorer, run, given))
        with self._first:
            return _finite(self._paid(scorer, run, given))

    def _paid(self, scorer: Scorer, run: Callable[..., Any], given: Mapping[str, Any]) -> Any:
        """Call a scorer, if the budget has something left for it, and take out what it used."""
        asks = bool(self._asks.get(scorer.name))
        if asks and not self.purse.reserve():
            msg = f"{NOT_SCORED}{self.purse.stopped}"
            raise EvaluationError(msg)
        spent, answer = Spent(), None
        try:
            with active.metered(self._session, spent):
                answer = run(**given)
        finally:
            used = spent.usage() or _told(scorer, answer)
            self._asks[scorer.name] = asks or bool(used)
            self.purse.pay(used, calls=max(used.total.calls, int(asks)), was_reserved=asks)
            if self._session is not None and used:
                self._session.logged.spent.add(used)
        return answer

    @contextmanager
    def predicting(self) -> Iterator[None]:
        """Let a prediction, in a thread of MLflow's, be the task's."""
        with active.answering(self._session):
            yield


def _finite(answer: Any) -> Any:
    """Return what a scorer gave.

    Raises:
        EvaluationError: If it is NaN or infinite. MLflow cannot keep that, and would return no row of any scorer.
    """
    for each in answer if isinstance(answer, list) else [answer]:
        value: Any = getattr(each, "value", each)
        if hasattr(value, "__float__") and not isinstance(value, int) and not math.isfinite(value):
            msg = f"the scorer returned {value}, which is no score"
            raise EvaluationError(msg)
    return answer


def _told(scorer: Scorer, answer: Any) -> Usage:
    """Return what a judge of MLflow's says that it used: its calls are no spans."""
    from mlflow.entities import Feedback

    model = str(getattr(scorer, "model", "") or "")
    provider, _, name = model.partition(":/")
    found = Usage()
    for each in answer if isinstance(answer, list) else [answer]:
        said = (each.metadata or {}) if isinstance(each, Feedback) else {}
        if said.get(_INPUT) is None and said.get(_OUTPUT) is None:
            continue
        tokens = Tokens(1, int(said.get(_INPUT) or 0), int(said.get(_OUTPUT) or 0))
        told = Decimal(str(said[_COST])) if said.get(_COST) is not None else None
        cost = cost_of(named(name or model), provider if name else None, tokens, told)
        found += Usage({named(name or model): replace(tokens, cost=cost)})
    return found
