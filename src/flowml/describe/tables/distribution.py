"""How the numbers of a table are spread: the percentiles of each column, when `Dataset(profile=True)` asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flowml import options
from flowml.describe.place import Place
from flowml.describe.text import key_text
from flowml.secrets import is_secret_number, mask
from flowml.storable import clean

_MOST_COLUMNS = 50
_DIGITS = 6


def is_wanted(place: Place) -> bool:
    """Whether the user wants it: percentiles are content, and cost time."""
    return isinstance(place.marker, options.Dataset) and place.marker.profile


def of_columns(columns: Iterable[tuple[Any, Any]]) -> Mapping[str, Any]:
    """Give each column's percentiles, 0 to 100, and the share of its values that are missing.

    Args:
        columns: The name and the values of each, as an array of floats; None for what is no numbers.
    """
    import numpy as np

    found: dict[str, Any] = {}
    for name, values in columns:
        if len(found) == _MOST_COLUMNS:
            break
        if values is None or is_secret_number(key_text(name)):
            continue
        there = values[np.isfinite(values)]
        points = np.percentile(there, range(101), method="nearest") if len(there) else []
        missing = 1 - len(there) / len(values) if len(values) else 0.0
        known_as = mask(clean(key_text(name)))
        rounded = [float(f"{point:.{_DIGITS}g}") for point in points]
        found[known_as] = {"percentiles": rounded, "missing": round(missing, _DIGITS)}
    return {"distribution": found}
