"""Evaluation of what language models answer: MLflow's harness predicts and scores, and each answer is a trace."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flowml.capture.inside import current_run
from flowml.errors import EvaluationError
from flowml.genai import rows
from flowml.genai.budget import Budget, Purse
from flowml.genai.evaluation import Drawn, Evaluation, Score
from flowml.genai.scoring import Scoring, scorers_of
from flowml.registry.evaluation import scored
from flowml.registry.evaluation.scored import ScoredRows

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 3  # errors that a message lists


def evaluate(  # noqa: PLR0913 - each by its name
    predict: Any, data: Any, scorers: Any, budget: Budget | None, *, name: str, of: str, drawn: Drawn
) -> Evaluation:
    """Have MLflow's harness predict and score.

    Raises:
        EvaluationError: If there are no rows or scorers, one is not as it must be, or every row has failed.
        Exception: What MLflow raises.
    """
    import mlflow.genai

    if predict is not None and not callable(predict):
        msg = f"evaluate(predict=...) takes a function of a row's inputs, not {predict!r}."
        raise EvaluationError(msg)
    found, data = scorers_of(scorers), rows.checked(data, predicts=predict is not None)
    if not found:
        msg = "evaluate(scorers=[]) scores nothing. Give a function, or a scorer of mlflow.genai.scorers."
        raise EvaluationError(msg)
    purse = Purse(budget)
    scoring = Scoring(purse, has_predicted=predict is not None)
    guarded = [scoring.guarded(each) for each in found]
    called = _predicting(predict, scoring) if predict is not None else None
    result = mlflow.genai.evaluate(data=data, scorers=guarded, predict_fn=called).result_df
    if result is None:
        msg = "MLflow has returned no rows: nothing is known of the evaluation."
        raise EvaluationError(msg)
    table = rows.table_of(result, [each.name for each in found])
    return _evaluation(table, [each.name for each in found], purse, name=name, of=of, drawn=drawn)


def _predicting(predict: Callable[..., Any], scoring: Scoring) -> Callable[..., Any]:
    """Return the function as the harness calls it: each call is one trace of the task.

    The harness first tries whether the function makes a trace, in the thread that has called it, which must not ask a
    language model once more.
    """
    import mlflow

    caller, called = threading.get_ident(), getattr(predict, "__name__", "predict")

    def predict_row(**inputs: Any) -> Any:
        with scoring.predicting(), mlflow.start_span(called) as span:
            if threading.get_ident() == caller:
                return None
            span.set_inputs(inputs)
            answer = predict(**inputs)
            answer = asyncio.run(answer) if inspect.iscoroutine(answer) else answer
            span.set_outputs(answer)
            return answer

    return predict_row


def _evaluation(  # noqa: PLR0913 - each by its name
    table: pd.DataFrame, names: list[str], purse: Purse, *, name: str, of: str, drawn: Drawn
) -> Evaluation:
    import numpy as np
    import pandas as pd

    errors = [each or {} for each in table["errors"]]
    failed_rows = int((table["state"] == "ERROR").sum())
    own = {"inputs", "outputs", "expectations", "errors", "state", "trace_id"}
    names = [*names, *(str(column) for column in table.columns if column not in own and column not in names)]
    scores, numbers, missing = {}, {}, {}
    for each in names:
        values = np.array([rows.number_of(value) for value in table[each]], dtype=float)
        outcomes = [rows.outcome_of(error.get(each)) for error in errors]
        failed, unscored = outcomes.count("failed"), outcomes.count("unscored")
        known = values[np.isfinite(values)]
        if len(known):
            numbers[each] = values
        ends = scored.interval_of(each, known, confidence=drawn.confidence, resamples=drawn.resamples)
        interval = (ends.low, ends.high) if ends else None
        mean = float(known.mean()) if len(known) else None
        scores[each] = Score(each, mean, interval, len(table) - failed - unscored, failed, unscored)
        if len(known) < len(table):
            missing[each] = f"{len(table) - len(known):,} of {len(table):,} rows have no number"
    if all(score.scored == 0 for score in scores.values()):
        raise EvaluationError(_nothing(table, errors, purse))
    fields = [value if isinstance(value, Mapping) else {"inputs": value} for value in table["inputs"]]
    kept = ScoredRows(rows.keys_of(table), pd.DataFrame(fields), numbers, of or name, missing)
    return Evaluation(
        name=name,
        scores=scores,
        table=table,
        rows=kept,
        of=of,
        failed_rows=failed_rows,
        stopped=purse.stopped,
        judges=purse.used,
        judge_calls=purse.calls,
        run=current_run(),
        confidence=drawn.confidence,
        resamples=drawn.resamples,
    )


def _nothing(table: pd.DataFrame, errors: Iterable[Mapping[str, str]], purse: Purse) -> str:
    """Say why no row has a score."""
    if purse.stopped:
        return f"No row was scored: {purse.stopped} before the first."
    said = list(dict.fromkeys(text for each in errors for text in each.values() if not rows.is_of_row(text)))
    why = "; ".join(said[:_SHOWN]) or "the traces of its run say why"
    what = "predictions" if (table["state"] == "ERROR").all() else "scores"
    return f"All {len(table):,} {what} have failed, so that nothing is known: {why}."
