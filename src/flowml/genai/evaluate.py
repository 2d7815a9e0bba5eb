"""Evaluation as a task: by MLflow's scorers for what language models answer, by its metrics for models of tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from prefect.cache_policies import NO_CACHE

from flowml import describe, records
from flowml.capture.reading import connection_here
from flowml.capture.session import Session, current
from flowml.decorators import task
from flowml.errors import EvaluationError
from flowml.genai import answers, classic, rows
from flowml.genai.budget import Budget
from flowml.genai.evaluation import Drawn, Evaluation
from flowml.locks import RLock
from flowml.options import Track
from flowml.storable import legal_key
from flowml.store import NO_RUN, flush_all
from flowml.store.registered.references import find
from flowml.store.registered.references import target as named_target

TABLE = "evaluation/rows.json"
"""The artifact that MLflow shows as a table."""

INCOMPLETE, OF = "flowml.evaluation.incomplete", "flowml.evaluation.of"
"""The tags of an evaluation's run: what was left out, and what was evaluated."""

_LEAST = 100  # draws, by which an interval says anything
_MOST_ROWS = 10_000  # of the table in MLflow
_one_at_a_time = RLock()  # MLflow's harness is not for several threads of one process


@task(name="evaluate", track=Track(inputs=False, outputs=False), cache_policy=NO_CACHE)
def evaluate(  # noqa: PLR0913 - each by its name
    predict: Any = None,
    *,
    data: Any,
    scorers: Any = (),
    name: str = "evaluation",
    of: Any = None,
    budget: Budget | None = None,
    target: str | None = None,
    model_type: str | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> Evaluation:
    """Evaluate a function, or a model, on rows: a run with each score and how sure it is, and a table of the rows.

    Without ``target`` it is MLflow's evaluation of what language models answer (``mlflow.genai.evaluate``): each row
    has ``inputs``, the function's arguments by name, and may have ``expectations``; each answer is a trace, with the
    scores on it. With ``target`` it is MLflow's evaluation of models of tables (``mlflow.models.evaluate``): the data
    is a table with that column.

    A row on which the function fails, or a scorer, is counted and said, and is in no mean; the others are scored.

    Args:
        predict: The function, called with a row's inputs; or a model, a version or a logged model, of a table. None:
            the rows have their ``outputs``, or traces, already.
        data: The rows: mappings with ``inputs``, a pandas frame of them, a dataset of MLflow's, or traces; or a table.
        scorers: MLflow's scorers, and functions that take ``inputs``, ``outputs``, ``expectations`` or ``trace`` and
            return a number, a bool, a text or MLflow's `Feedback`. Of a table: functions as MLflow's extra metrics.
        name: What the evaluation is called.
        of: What is evaluated, for a gate: a version of a prompt or a model, such as ``"prompts:/summarize/3"``.
        budget: How much the language models that judge may be asked, and cost.
        target: The column with the true values, of a table.
        model_type: What MLflow evaluates a table as. Default: ``"classifier"`` or ``"regressor"``, by the target.
        confidence: How sure the intervals are.
        resamples: How often the rows are drawn anew to find them.

    Returns:
        The evaluation.

    Raises:
        EvaluationError: If there are no rows or scorers, one is not as it must be, or every row has failed.
        RegistryError: If ``of`` names no version that there is.
        Exception: Whatever MLflow raises.

    Example:
        >>> evaluation = flowml.evaluate(answer, data=rows, scorers=[exact], of=prompt)
        >>> print(evaluation)
    """
    _check(budget, confidence, resamples)
    session = current()
    here = session if session and session.run is not NO_RUN else None
    evaluated, data = _evaluated(of, here), list(data) if isinstance(data, Iterator) else data
    drawn = Drawn(confidence, resamples)
    flush_all()  # a run that MLflow's own calls go to
    with _one_at_a_time:
        if target is not None:
            found = classic.evaluate(predict, data, target, scorers, model_type, name=name, of=evaluated, drawn=drawn)
        elif rows.is_for_language_models(data):
            found = answers.evaluate(predict, data, scorers, budget, name=name, of=evaluated, drawn=drawn)
        else:
            msg = (
                f"evaluate(data=...) takes rows with 'inputs', or a table with target=, not {type(data).__name__}. "
                "Write data=[{'inputs': {'question': ...}}], or target='churned'."
            )
            raise EvaluationError(msg)
    if here is not None:
        found = replace(found, dataset=_dataset(here, found, data if target is not None else None))
        _log(here, found)
    log = here.call.log if here else None
    if log:
        (log.info if found.is_complete else log.warning)("flowml: %s", found)
    return found


def _dataset(session: Session, found: Evaluation, table: Any) -> tuple[str, str] | None:
    """Return name and digest of the rows: MLflow's harness has logged those that it was given; a table is, here."""
    if table is not None:
        given = describe.inputs({"data": table}, {}, session.hidden)
        (dataset, *_) = [*(each for each in given if isinstance(each, records.Dataset)), None]
        if dataset is None:
            return None
        session.put([dataset])
        return dataset.name, dataset.digest
    inputs = connection_here().client.get_run(found.run.run_id).inputs if found.run else None
    return next(((each.dataset.name, each.dataset.digest) for each in inputs.dataset_inputs), None) if inputs else None


def _log(session: Session, found: Evaluation) -> None:
    """Keep scores, intervals and rows on the run."""
    new: list[records.Record] = [records.Param("evaluation", found.name)]
    for name, score in found.scores.items():
        key = legal_key(name)
        if score.mean is not None:
            new.append(records.Metric(key, score.mean))
        if score.interval:
            new += [records.Metric(f"{key}.low", score.interval[0]), records.Metric(f"{key}.high", score.interval[1])]
        if score.failed or score.unscored:
            new += [records.Metric(f"{key}.scored", float(score.scored))]
    new.append(records.Metric("rows", float(len(found.table))))
    if found.failed_rows:
        new.append(records.Metric("rows.failed", float(found.failed_rows)))
    if found.of:
        new.append(records.Tag(OF, found.of))
    if not found.is_complete:
        new.append(records.Tag(INCOMPLETE, str(found)[:1000]))
    session.put(new)
    if found.run is not None:
        client = connection_here().client
        client.log_table(found.run.run_id, rows.shown(found.table.head(_MOST_ROWS)), TABLE)


def _evaluated(of: Any, session: Session | None) -> str:
    """Read what is evaluated; the run says so, of a prompt by MLflow's link too.

    Raises:
        RegistryError: If there is no such version.
    """
    if of is None:
        return ""
    name, version = named_target(of)
    found = find(connection_here().client, of if isinstance(of, str) and version is None else (name, str(version)))
    if session is not None and not isinstance(of, str) and hasattr(of, "template"):
        session.put(describe.prompts.told(of))
    elif session is not None and name.startswith("prompts:/"):
        session.put([records.PromptInput(name.removeprefix("prompts:/"), str(found.version))])
    return f"{found.name}/{found.version}"


def _check(budget: Any, confidence: Any, resamples: Any) -> None:
    if budget is not None and not isinstance(budget, Budget):
        msg = f"evaluate(budget=...) takes a flowml.Budget, such as Budget(max_calls=100), not {budget!r}."
        raise TypeError(msg)
    if isinstance(confidence, bool) or not isinstance(confidence, float) or not 0.5 <= confidence < 1:  # noqa: PLR2004
        msg = f"evaluate(confidence=...) takes a number from 0.5 to below 1, such as 0.95, not {confidence!r}."
        raise ValueError(msg)
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < _LEAST:
        msg = f"evaluate(resamples=...) takes a whole number from {_LEAST}, not {resamples!r}."
        raise ValueError(msg)
