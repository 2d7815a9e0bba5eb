"""The figures of a study: how it went on, which parameter mattered, what each did, and the Pareto front."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flowml.tuning.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from optuna.trial import FrozenTrial

_MOST_SLICES = 12  # parameters that are drawn


def figures(study: Study) -> dict[str, Figure]:
    """Draw what can be drawn of a study, by name."""
    from optuna.trial import TrialState

    done = study.optuna.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    done = [trial for trial in done if trial.values]
    if not done:
        return {}
    names = study.metrics
    found = {"history": _history(study, done, names)}
    found |= {} if (importances := _importances(study, done, names)) is None else {"importance": importances}
    found |= {} if (slices := _slices(done, names[0])) is None else {"slice": slices}
    if len(names) > 1:
        found["pareto"] = _pareto(study, done, names)
    return found


def _history(study: Study, done: list[FrozenTrial], names: list[str]) -> Figure:
    figure, axes = _drawn(len(names))
    for place, (name, direction) in enumerate(zip(names, study.optuna.directions, strict=True)):
        better = max if direction.name == "MAXIMIZE" else min
        numbers, values = [trial.number for trial in done], [trial.values[place] for trial in done]
        best = [values[0]]
        for value in values[1:]:
            best.append(better(best[-1], value))
        axes[place].plot(numbers, values, ".", alpha=0.5, label="trial")
        axes[place].plot(numbers, best, drawstyle="steps-post", label="best so far")
        axes[place].set(xlabel="trial", ylabel=name)
        axes[place].legend()
    return figure


def _importances(study: Study, done: list[FrozenTrial], names: list[str]) -> Figure | None:
    """Draw how much of the differences each parameter explains; None where there are none."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    shared = set.intersection(*(set(trial.params) for trial in done))
    drawn = []
    for place, name in enumerate(names):
        if len({trial.values[place] for trial in done}) < 2 or not shared:  # noqa: PLR2004 - nothing differs
            continue
        if len(names) == 1:
            found = get_param_importances(study.optuna)
        else:  # Optuna's own choice asks which direction is better, and cannot be told
            found = get_param_importances(
                study.optuna,
                evaluator=FanovaImportanceEvaluator(seed=0),
                target=partial(_value_at, place),
            )
        drawn.append((name, found))
    if not drawn:
        return None
    figure, axes = _drawn(len(drawn))
    for axis, (name, found) in zip(axes, drawn, strict=True):
        axis.barh(list(found)[::-1], list(found.values())[::-1])
        axis.set(xlabel=f"importance for {name}")
    return figure


def _value_at(place: int, trial: FrozenTrial) -> float:
    return float(trial.values[place])


def _slices(done: list[FrozenTrial], name: str) -> Figure | None:
    params = list(dict.fromkeys(param for trial in done for param in trial.params))[:_MOST_SLICES]
    if not params:
        return None
    figure, axes = _drawn(len(params))
    for axis, param in zip(axes, params, strict=True):
        having = [trial for trial in done if param in trial.params]
        is_number = hasattr(having[0].distributions[param], "low")
        places: list[Any] = [trial.params[param] if is_number else str(trial.params[param]) for trial in having]
        axis.plot(places, [trial.values[0] for trial in having], ".", alpha=0.5)
        axis.set(xlabel=param, ylabel=name)
        if getattr(having[0].distributions[param], "log", False):
            axis.set_xscale("log")
    return figure


def _pareto(study: Study, done: list[FrozenTrial], names: list[str]) -> Figure:
    figure, axes = _drawn(1)
    best = {trial.number for trial in study.optuna.best_trials}
    for label, is_best in (("trial", False), ("Pareto front", True)):
        drawn = [trial for trial in done if (trial.number in best) is is_best]
        axes[0].plot([each.values[0] for each in drawn], [each.values[1] for each in drawn], "o", label=label)
    axes[0].set(xlabel=names[0], ylabel=names[1])
    axes[0].legend()
    return figure


def _drawn(count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with so many plots, at most three in a row; not one of pyplot's, which keeps them all."""
    from matplotlib.figure import Figure

    across = min(count, 3)
    down = -(-count // across)
    figure = Figure(figsize=(4.5 * across, 3.2 * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]
