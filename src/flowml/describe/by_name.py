"""What the body of a call logs by name: values by their types, parameters, metrics."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from flowml import options, records
from flowml.describe import metrics
from flowml.describe.dispatch import find, part_by_part
from flowml.describe.limits import fit_piece
from flowml.describe.place import Hidden, Place
from flowml.describe.text import cut, short
from flowml.describe.values import describe
from flowml.secrets import mask
from flowml.storable import clean

_MOST_WRONG = 5  # values of one call that are named when they cannot be logged


def named(
    values: Mapping[str, Any],
    *,
    models: options.Models = "auto",
    model_params: options.ModelParams = "all",
    hidden: Hidden | None = None,
) -> list[records.Record]:
    """Describe values that the user logs by name, as in ``flowml.log(accuracy=0.9, confusion=figure)``.

    Args:
        values: Each value by the name it is to have.
        models: Which values are models: what can predict, or none of these.
        model_params: Which hyper-parameters of models are parameters.
        hidden: Counts the secrets that are masked or left out.

    Returns:
        The records, within MLflow's limits.
    """
    found: list[records.Record] = []
    for name, value in values.items():
        place = Place(name, "output", name, prefix=name, models=models, model_params=model_params, hidden=hidden)
        found += describe(value, place)
    return fit_piece(found, "logged", values, hidden)


def named_params(values: Any, hidden: Hidden | None = None) -> tuple[list[records.Record], dict[str, str]]:
    """Describe what the user logs as parameters, as `Param(prefix=False)` would.

    Args:
        values: A mapping, or what has fields.
        hidden: Counts the secrets that are masked.

    Returns:
        The records, within MLflow's limits; and why what cannot be logged cannot, by what it is.
    """
    if find(type(values)) not in part_by_part:
        return [], {"parameters": f"log_params() takes a mapping of names to values, not {short(values)}."}
    if isinstance(values, Mapping) and not values:
        return [], {}
    found = describe(values, Place("params", "input", marker=options.Param(prefix=False)))
    keys = [record.key for record in found if isinstance(record, records.Param)]
    return fit_piece(found, "logged", keys, hidden), {}


def named_metrics(
    values: Any, step: Any = None, hidden: Hidden | None = None
) -> tuple[list[records.Record], dict[str, str]]:
    """Take the numbers that the user logs as metrics.

    Args:
        values: A mapping of numbers, or of mappings of them.
        step: Their step; None is the first.
        hidden: Counts the secrets that are left out, because they are no numbers.

    Returns:
        The records, within MLflow's limits; and why what cannot be logged cannot, by what it is.
    """
    wrong: dict[str, str] = {}
    if not isinstance(values, Mapping):
        return [], {"metrics": f"log_metrics() takes a mapping of names to numbers, not {short(values)}."}
    number = _step(step)
    if number is None:
        wrong[f"metrics at the step {short(step)}"] = (
            f"{short(step)} is no whole number. They are at step 0; pass step=1, for one."
        )
    found: list[records.Record] = []
    left_out = 0
    for name, value in metrics.leaves(values, Place("metrics", "output", hidden=hidden)):
        point = metrics.as_number(value)
        if point is not None:
            found.append(records.Metric(name, point, number or 0))
        elif len(wrong) < _MOST_WRONG:
            shown = repr(cut(mask(clean(name))))  # in the reason too: the same one is told once
            wrong[f"the metric {shown}"] = (
                f"{shown} is {short(value)}, which is no number. Use flowml.log_params, or flowml.log for any type."
            )
        else:
            left_out += 1
    if left_out:
        wrong[f"{left_out:,} more metrics"] = "they are no numbers either."
    return fit_piece(found, "logged", [record.key for record in found if isinstance(record, records.Metric)]), wrong


def _step(step: Any) -> int | None:
    """Read a step, also a NumPy number or a whole float; None is what is none."""
    if step is None:
        return 0
    try:
        return int(step) if isinstance(step, float) and step.is_integer() else operator.index(step)
    except TypeError:
        return None
