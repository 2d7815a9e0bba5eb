"""How the numbers of a table are spread: the percentiles of each column, when `Dataset(profile=True)` asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flowml import options
from flowml.describe.place import Place
from flowml.describe.secrets import is_secret_name, mask
from flowml.describe.text import clean, key_text

if TYPE_CHECKING:
    import pandas as pd

_MOST_COLUMNS = 50
_DIGITS = 6


def is_wanted(place: Place) -> bool:
    """Whether the user wants it: percentiles are content, and cost time."""
    return isinstance(place.marker, options.Dataset) and place.marker.profile


def of_frame(part: pd.DataFrame) -> Mapping[str, Any]:
    """Give what `of_columns` does for the numeric columns of the rows of a frame that are looked at."""
    import pandas as pd

    numeric = [(name, part.iloc[:, at]) for at, name in enumerate(part.columns)]
    numbers = (
        (name, pd.to_numeric(column, errors="coerce").to_numpy(dtype="float64", na_value=float("nan")))
        for name, column in numeric
        if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column.dtype)
    )
    return of_columns(numbers)


def of_columns(columns: Iterable[tuple[Any, Any]]) -> Mapping[str, Any]:
    """Give each column's percentiles, 0 to 100, and the share of its values that are missing.

    Args:
        columns: The name and the values of each, as an array of floats.
    """
    import numpy as np

    found: dict[str, Any] = {}
    for name, values in columns:
        if len(found) == _MOST_COLUMNS:
            break
        if is_secret_name(str(name)):
            continue
        there = values[np.isfinite(values)]
        points = np.percentile(there, range(101), method="nearest") if len(there) else []
        missing = 1 - len(there) / len(values) if len(values) else 0.0
        known_as = mask(clean(key_text(name)))
        rounded = [float(f"{point:.{_DIGITS}g}") for point in points]
        found[known_as] = {"percentiles": rounded, "missing": round(missing, _DIGITS)}
    return {"distribution": found}
