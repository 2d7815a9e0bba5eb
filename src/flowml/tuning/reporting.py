"""What a trial tells on its way."""

from __future__ import annotations

from flowml.capture.inside import log_metrics
from flowml.describe.metrics import as_number
from flowml.errors import TuningError
from flowml.tuning.trials import running


def report(step: int, value: float, *, metric: str = "value") -> None:
    """Tell how good a trial is on its way; it may end here, if others were better at this step.

    The value is a step of the metric that `tune` maximizes or minimizes, on the trial's run. Outside a search it is
    logged alone, so that the task can be called by itself. With several metrics to optimize nothing is pruned or
    logged: Optuna prunes by one.

    Args:
        step: How far it is: the epoch, the number of trees. Each step once.
        value: The value so far.
        metric: What it is called outside a search.

    Raises:
        TuningError: If the value is no number, or the step no whole one from 0.
        optuna.TrialPruned: If the trial is given up. Let it pass: the run is marked as pruned, not as failed.

    Example:
        >>> for epoch in range(20):
        ...     loss = train_one(model, rows)
        ...     flowml.report(epoch, loss)
    """
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        msg = f"report(step=...) takes a whole number from 0, not {step!r}."
        raise TuningError(msg)
    point = as_number(value)
    if point is None:
        msg = f"report(value=...) takes a number, not {value!r:.80}."
        raise TuningError(msg)
    trial = running()
    if trial is None:
        log_metrics({metric: point}, step=step)
    else:
        trial.report(step, point)
