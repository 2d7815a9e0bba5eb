"""All describers that flowml brings."""

from __future__ import annotations

from flowml.describe import (
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
    scalars,
)


def register_all() -> None:
    """Register all describers that flowml brings; third-party libraries are imported when they are met."""
    tables = (dataframes, columnar, arrays, boosting)
    for room in (scalars, containers, fields, files, prefect_objects, *tables, models, figures):
        room.register_all()
