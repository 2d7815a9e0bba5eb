"""What, among a task's inputs and what the model kept itself, may be the data that it was fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flowml.store.models import examples
from flowml.store.models.features import Features, fitted_data, forecast_frame
from flowml.store.models.torch_modules import precision_of


@dataclass(frozen=True, slots=True)
class Candidate:
    """A few rows of what may be the data that the model was fitted on.

    Attributes:
        rows: With what is missing there, as a pandas frame or a NumPy array.
        example: The first of them.
        is_kept: Whether the model kept them itself.
        unsure: Columns that the model was fitted on in another form, or all may be.
        frame: The frame that the array comes from, where the model may have been fitted on that.
    """

    rows: Any
    example: Any
    is_kept: bool = False
    unsure: frozenset[Any] = frozenset()
    frame: Any = None


def candidates(model: Any, flavor: str, features: Features, inputs: Mapping[str, Any]) -> Iterator[Candidate]:
    """Yield what may be the data that the model was fitted on, the most likely first."""
    if flavor == "statsmodels":
        data = fitted_data(model)
        if data is not None:
            yield from _of_frame(data, data.columns, is_kept=True) if hasattr(data, "columns") else _of_array(data)
        return
    tables = list(examples.tables_in(inputs))
    if features.names:
        named = [(table, columns) for table in tables if (columns := examples.columns_named(table, features.names))]
        for table, columns in sorted(named, key=lambda found: len(found[0].columns) != len(found[1])):
            yield from _of_frame(table, columns)
        if flavor == "prophet" and not named and (kept := forecast_frame(model, features.names)) is not None:
            rows = examples.first_rows(kept, kept.columns)
            yield Candidate(rows, rows, unsure=frozenset(rows.columns))  # it turns texts into days before it keeps them
        return
    floats = precision_of(model) if flavor == "pytorch" else None
    found = [(table, examples.array_of(table, features.count, floats)) for table in tables]
    arrays = [(table, array) for table, array in found if array is not None]
    # A model that knows no names was fitted on an array; a frame is only what the array may have come from.
    for table, array in sorted(arrays, key=lambda found: (hasattr(found[0], "columns"), -found[1].shape[1])):
        yield Candidate(array, array, frame=_without_names(table))


def _of_frame(table: Any, columns: Any, *, is_kept: bool = False) -> Iterator[Candidate]:
    """Yield the rows that tell most; then those without gaps, which the task may have left out or filled."""
    rows, example = examples.telling_rows(table, columns), examples.first_rows(table, columns)
    yield Candidate(rows, example, is_kept=is_kept)
    gaps = frozenset(name for position, name in enumerate(rows.columns) if rows.iloc[:, position].isna().any())
    complete = examples.complete_rows(table, columns) if gaps else rows
    if gaps and len(complete):
        yield Candidate(complete, complete, unsure=gaps)


def _of_array(data: Any) -> Iterator[Candidate]:
    rows = data[: examples.EXAMPLE_ROWS]
    yield Candidate(rows, rows, is_kept=True)


def _without_names(table: Any) -> Any:
    """The first rows of a frame whose columns have no names that a model would know; None of any other table."""
    if not hasattr(table, "iloc") or all(isinstance(column, str) for column in table.columns):
        return None
    return table.head(examples.EXAMPLE_ROWS)
