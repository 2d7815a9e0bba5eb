"""Evaluation of a model of tables, by MLflow's evaluator, with an interval for each metric that can be drawn anew."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from flowml.capture.inside import current_run
from flowml.capture.reading import connection_here
from flowml.errors import EvaluationError, RegistryError, did_you_mean, listed
from flowml.genai.evaluation import Drawn, Evaluation, Score
from flowml.registry.evaluation.bootstrap import interval
from flowml.registry.evaluation.columns import table_for
from flowml.registry.evaluation.contenders import Arena
from flowml.registry.evaluation.metrics import resolve
from flowml.registry.evaluation.predictions import Predictions, predict
from flowml.registry.evaluation.scored import ScoredRows
from flowml.store.models.flavors import mlflow_muted

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_CLASSES = 20  # of whole numbers: more are numbers to a regressor


class _Function:
    """A function as a model: it predicts."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.predict = function


def evaluate(  # noqa: PLR0913 - each by its name
    given: Any,
    data: Any,
    target: str,
    extra: Any,
    model_type: str | None,
    *,
    name: str,
    of: str,
    drawn: Drawn,
) -> Evaluation:
    """Evaluate a model on a table.

    Raises:
        EvaluationError: If there are no rows, no such column, or no model.
        RegistryError: If there is no such version, or it does not predict.
        Exception: What MLflow raises.
    """
    import mlflow

    table = _table(data, target)
    truth = table[target].to_numpy()
    kind = model_type or _kind(table[target])
    if given is None:
        msg = "evaluate(target=...) needs a model, or a function that predicts: nothing says what it predicted."
        raise EvaluationError(msg)
    with Arena(connection_here()) as arena:
        is_function = callable(given) and not hasattr(given, "predict")
        contender = arena.candidate(_Function(given) if is_function else given, None)
        columns = table_for(contender.model, contender.signature, table, target, contender.whose)
        said = predict(contender.model, columns, truth, contender.whose)
    predicted = table.assign(prediction=said.predicted)
    extra = [extra] if callable(extra) else list(extra)
    with mlflow_muted():
        result = mlflow.models.evaluate(
            data=predicted,
            predictions="prediction",
            targets=target,
            model_type=kind,
            extra_metrics=_extra(extra) or None,
            evaluators="default",
        )
    metrics = {str(key): float(value) for key, value in result.metrics.items() if math.isfinite(float(value))}
    scores = {key: Score(key, value, _interval(key, value, said, drawn), len(table)) for key, value in metrics.items()}
    row_scores = _by_row(said, kind)
    whose = of or contender.called(contender.name) or name
    kept = ScoredRows(_keys(table), table.drop(columns=[target]), row_scores, whose, {})
    shown = predicted.rename(columns={target: f"target {target}"}) if target == "prediction" else predicted
    return Evaluation(
        name=name,
        scores=scores,
        table=shown.assign(**row_scores),
        rows=kept,
        of=of or (f"{contender.name}/{contender.version}" if contender.name and contender.version else ""),
        run=current_run(),
        confidence=drawn.confidence,
        resamples=drawn.resamples,
    )


def _table(data: Any, target: str) -> pd.DataFrame:
    import pandas as pd

    convert = getattr(data, "to_pandas", None)
    table = convert() if callable(convert) else pd.DataFrame(data)
    if target not in table.columns:
        names = [str(column) for column in table.columns]
        hint = did_you_mean(target, names) or f"It has {listed(names)}."
        msg = f"The data has no column {target!r}, which is to be the target. {hint}"
        raise EvaluationError(msg)
    if len(table) == 0:
        msg = "The data has no rows: there is nothing to evaluate."
        raise EvaluationError(msg)
    if missing := int(table[target].isna().sum()):
        msg = f"The target {target!r} is missing in {missing:,} of {len(table):,} rows. Leave them out."
        raise EvaluationError(msg)
    return table.reset_index(drop=True)


def _kind(target: pd.Series[Any]) -> str:
    import pandas as pd

    is_number = pd.api.types.is_numeric_dtype(target) and not pd.api.types.is_bool_dtype(target)
    is_whole = is_number and bool((target == target.round()).all()) and target.nunique() <= _CLASSES
    return "classifier" if is_whole or not is_number else "regressor"


def _extra(functions: Sequence[Any]) -> list[Any]:
    """Return metrics as MLflow takes them: functions of predictions and targets are made ones."""
    from mlflow.metrics import MetricValue, make_metric
    from mlflow.models import EvaluationMetric

    def made(function: Callable[..., Any]) -> Any:
        def value(predictions: Any, targets: Any) -> MetricValue:
            return MetricValue(aggregate_results={called: float(function(targets, predictions))})

        called = getattr(function, "__name__", "metric")
        return make_metric(eval_fn=value, greater_is_better=True, name=called)

    for each in functions:
        if not (isinstance(each, EvaluationMetric) or callable(each)):
            msg = f"evaluate(scorers=...) of a table takes functions of true values and predictions, not {each!r}."
            raise EvaluationError(msg)
    return [each if isinstance(each, EvaluationMetric) else made(each) for each in functions]


def _interval(name: str, value: float, said: Predictions, drawn: Drawn) -> tuple[float, float] | None:
    """Find between what a metric is, where it can be computed on rows drawn anew and is the one that MLflow means."""
    try:
        metric = resolve(name, {})
        if not math.isclose(metric.value(said), value, rel_tol=1e-9, abs_tol=1e-12):
            return None
        found = interval(metric, said, None, confidence=drawn.confidence, resamples=drawn.resamples)
    except (RegistryError, ValueError):  # MLflow's own measure, such as a number of rows, or too few rows
        return None
    return found.low, found.high


def _by_row(said: Predictions, kind: str) -> dict[str, np.ndarray[Any, Any]]:
    if kind == "regressor":
        return {"absolute_error": abs(said.predicted.astype(float) - said.truth.astype(float))}
    return {"correct": (said.predicted == said.truth).astype(float)}


def _keys(table: pd.DataFrame) -> tuple[str, ...]:
    import pandas as pd

    texts = table.apply(lambda column: column.map(repr) if column.dtype == object else column)
    digests = pd.util.hash_pandas_object(texts, index=False).astype(str)
    return tuple(digests + "-" + digests.groupby(digests).cumcount().astype(str))
