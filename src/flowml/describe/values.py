"""The one way from a value to its records: markers and secrets first, then the type's describer, never an exception."""

from __future__ import annotations

from typing import Any

from flowml import options, records
from flowml.describe import markers
from flowml.describe.dispatch import as_list, find
from flowml.describe.place import DEEPEST, Place
from flowml.describe.secrets import MASK
from flowml.describe.text import SHORT, cut, error_text, type_name, typed
from flowml.describe.written import written
from flowml.errors import pass_on


def describe(value: Any, place: Place) -> list[records.Record]:  # noqa: PLR0911 - one line for each case
    """Describe one value; whatever happens on the way, something comes out."""
    marker = place.marker
    if type(marker) is options.Skip:
        return []
    if place.is_secret and not (value is None or type(value) is bool):
        return [] if place.role == "output" else [records.Param(place.label, MASK)]
    try:
        if place.above and id(value) in place.above:
            return [records.Param(place.label, f"<circular reference to a {type_name(type(value))}>")]
        if place.depth > DEEPEST:
            return fallback(value, place)
        value = as_list(value)
        if marker is not None:
            marked = markers.describe(value, place, describe)
            if marked is not None:
                return marked
        describer = find(type(value))
        if describer is None:
            return fallback(value, place)
        found = describer(value, place)
        return found if type(found) is list else list(found)
    except BaseException as error:  # noqa: BLE001 - a user's object or describer may raise anything
        pass_on(error)
        return not_described(value, place, error)


def fallback(value: Any, place: Place) -> list[records.Record]:
    """Describe a value of which nothing is known, by its type and a short repr."""
    if type(place.marker) is options.Artifact:
        return list(written(value, place, {".txt": typed, ".md": typed, ".log": typed}))
    return [records.Param(place.label, typed(value))]


def not_described(value: Any, place: Place, error: BaseException) -> list[records.Record]:
    """Say in a parameter, and to whoever logs, that a value could not be described, and why."""
    text = cut(f"{type_name(type(value))} (not described: {error_text(error)})", SHORT)
    return [records.Param(place.label, text), records.Lost(place.label, f"describe {place.label!r}", f"{text}.")]
