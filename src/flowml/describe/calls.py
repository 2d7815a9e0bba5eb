"""What a call was given and what it gave, described and within the limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowml import options, records
from flowml.describe import hints, metrics
from flowml.describe.limits import apart, fit, fit_piece
from flowml.describe.place import Hidden, Place
from flowml.describe.text import full_name, type_name
from flowml.describe.types import (
    arrays,
    boosting,
    columnar,
    containers,
    dataframes,
    fields,
    figures,
    files,
    models,
    prefect_objects,
    prompts,
    scalars,
)
from flowml.describe.values import describe, not_described
from flowml.errors import pass_on


def inputs(
    arguments: Mapping[str, Any],
    annotations: Mapping[str, Any],
    hidden: Hidden | None = None,
    *,
    model_params: options.ModelParams = "all",
) -> list[records.Record]:
    """Describe what a call was given.

    Args:
        arguments: The bound arguments by name.
        annotations: The resolved annotations by argument name; some or all may be missing.
        hidden: Counts the secrets that are masked or left out.
        model_params: Which hyper-parameters of models are parameters.

    Returns:
        The records, within MLflow's limits.
    """
    found: list[records.Record] = []
    for name, value in arguments.items():
        if name == "self":
            found.append(records.Param(name, type_name(type(value))))
        elif name == "cls" and isinstance(value, type):
            found.append(records.Param(name, full_name(value)))
        else:
            annotation = annotations.get(name)
            marker = hints.marker_in(annotation)
            known_as = getattr(marker, "name", None) or name
            place = Place(
                known_as,
                "input",
                "",
                marker,
                annotation,
                arguments,
                known_as,
                beside=True,
                hidden=hidden,
                model_params=model_params,
            )
            found += describe(value, place)
    return fit(apart(found), hidden=hidden)


def outputs(  # noqa: PLR0913 - each by its name
    value: Any,
    name: str,
    annotation: Any = None,
    inputs: Mapping[str, Any] | None = None,
    *,
    models: options.Models = "auto",
    model_params: options.ModelParams = "all",
    hidden: Hidden | None = None,
) -> list[records.Record]:
    """Describe what a task returned.

    Args:
        value: The returned value.
        name: The task's name: a number it returned is a metric of this name.
        annotation: The resolved annotation of the return value.
        inputs: What the task was given, by argument name; a model's signature and example come from it.
        models: Which values are models: what can predict and what has a marker, or the latter only.
        model_params: Which hyper-parameters of models are parameters.
        hidden: Counts the secrets that are masked or left out.

    Returns:
        The records, within MLflow's limits.
    """
    marker = hints.marker_in(annotation)
    place = Place(
        name,
        "output",
        name,
        marker,
        annotation,
        inputs or {},
        returned=True,
        models=models,
        hidden=hidden,
        model_params=model_params,
    )
    return fit(apart(describe(value, place)), overflow="outputs.json", changed_keys="output_keys.json", hidden=hidden)


def yielded(
    value: Any, name: str, step: int, annotation: Any = None, hidden: Hidden | None = None
) -> list[records.Record]:
    """Describe one value that a generator yielded: numbers are metrics at its step, all else is nothing.

    Args:
        value: The yielded value: a number, or a mapping with numbers in it.
        name: The task's name.
        step: How many values were yielded before.
        annotation: The resolved return annotation of the generator function.
        hidden: Counts the secrets that are left out.

    Returns:
        The records, within MLflow's limits.
    """
    annotation = hints.of_yielded(annotation)
    marker = hints.marker_in(annotation)
    if isinstance(marker, options.Skip):
        return []
    chosen = marker.name if isinstance(marker, options.Metric) else None
    place = Place(chosen or name, "output", name, marker, annotation, prefix=chosen or "", hidden=hidden)
    found: list[records.Record] = []
    try:
        if isinstance(value, Mapping):
            found = metrics.from_many(value, place, step)
        elif (number := metrics.number(value)) is not None:
            found = [records.Metric(place.name, number, step)]
    except BaseException as error:  # noqa: BLE001 - a mapping of the user's may raise anything
        pass_on(error)
        return not_described(value, place, error)[1:]  # a parameter for each step would be too many
    keys = [record.key for record in found if isinstance(record, records.Metric)]
    return fit_piece(found, "yielded", keys, hidden) if found else []


def register_all() -> None:
    """Register all describers that flowml brings; third-party libraries are imported when they are met."""
    tables = (dataframes, columnar, arrays, boosting)
    for room in (scalars, containers, fields, files, prefect_objects, prompts, *tables, models, figures):
        room.register_all()


register_all()
